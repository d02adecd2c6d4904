"""What a device can do, measured: matrix products, copies, launches, and transfers from and to the host."""
