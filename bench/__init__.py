"""Loopmark's harness: measure training loops, store the samples, judge them, and report the result."""
