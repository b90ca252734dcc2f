"""What a practitioner would write without flaxdrop: the same networks and recipes elsewhere."""
