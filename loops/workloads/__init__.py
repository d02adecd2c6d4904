"""The workloads included in Loopmark, on real data that needs no download."""
