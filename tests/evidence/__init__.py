"""Check Loopmark's promises on a machine with a GPU, in steps of bounded time, and pack the evidence."""
