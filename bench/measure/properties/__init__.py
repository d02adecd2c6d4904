"""What the canonical step promises, as checks of any loop, each with its name and statement."""
