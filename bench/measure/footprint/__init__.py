"""The memory of one step, phase by phase and moment by moment, outside of all timing."""
