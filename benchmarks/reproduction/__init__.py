"""The published tables: which cells are wanted, what is there, and the page that shows it."""
