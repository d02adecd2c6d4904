"""Loopmark's harness: measure training loops, keep what was seen, judge it, show it."""
