"""Runs side by side made readable: machines beside one another, or one machine before and after."""
