"""The memory of one step made readable: its table, its files and its plot."""
