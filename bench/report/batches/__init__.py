"""A search for a batch size made readable: its table, its files and its plot."""
