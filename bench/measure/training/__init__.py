"""Loops trained to their workloads' targets, and watched."""
