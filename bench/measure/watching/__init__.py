"""Any training script, unedited: hooks in its Python, and what they saw."""
