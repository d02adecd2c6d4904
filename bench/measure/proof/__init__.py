"""A loop's steps beside the canonical one's, and what rounding alone does to those."""
