"""A trace's costs made readable: its table, its JSON and its spreadsheet."""
