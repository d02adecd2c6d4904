"""What the canonical step promises, as checks of any loop: one property a file, by its name and statement."""
