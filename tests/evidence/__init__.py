"""What a machine with a GPU shows of Loopmark's promises: run in bounded steps, judged, and packed into one archive."""
