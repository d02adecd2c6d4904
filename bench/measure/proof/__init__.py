"""The comparison of a loop's steps with the canonical step, and the effect of rounding alone."""
