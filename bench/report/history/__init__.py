"""Many runs made readable: how each loop's speedup moved from run to run."""
