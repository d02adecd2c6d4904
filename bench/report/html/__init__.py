"""Pages that stand alone: one file each, which opens from disk and asks no network for anything."""
