"""What the command's exit status says, and where it looks for what is kept."""

from pathlib import Path

NOT_MEASURED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Of a failed case, of a mistake in what was asked for, of Ctrl-C; a comparison's are in ``bench.judge.finding``."""

REFERENCE = Path("results/reference")
"""Where runs and calibrations are kept that a repository carries."""
