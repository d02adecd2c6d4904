"""Training of loops to their workloads' targets, with its checks."""
