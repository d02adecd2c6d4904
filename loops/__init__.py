"""What is timed: one canonical training step, its versions, and what they train. Knows nothing of clocks."""
