"""Every boundary of a layer as a slot, in networks that are not edited."""
