"""Where a step's time goes, kernel by kernel: a few steps under torch.profiler, apart from all that is measured."""
