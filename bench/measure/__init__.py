"""Run loops in processes of their own, take turns, and keep what the clocks said. Knows torch; judges nothing."""
