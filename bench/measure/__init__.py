"""Runs loops in separate processes that take turns, and stores the times. It uses torch, and judges no results."""
