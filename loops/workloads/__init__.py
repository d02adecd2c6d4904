"""The workloads that come with Loopmark, each on real data that needs no download."""
