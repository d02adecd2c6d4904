"""Measured ceilings of a device: matrix products, copies, launches, and transfers from and to the host."""
