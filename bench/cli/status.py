"""What the command's exit status says."""

NOT_MEASURED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Of a failed case, of a mistake in what was asked for, of Ctrl-C; a comparison's are in ``bench.judge.finding``."""
