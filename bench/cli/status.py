"""What the command's exit status says, and where it looks for what is kept."""

from pathlib import Path

NOT_MEASURED, BAD_INPUT, CRASHED, INTERRUPTED = 1, 2, 70, 130
"""Of a failed case, of a mistake in what was asked for, of one in Loopmark itself, of Ctrl-C; a comparison's are in
``loopmark.bench.judge.finding``, and neither a full disk nor a crash may pass for one of them."""

NOT_VERIFIED, CANNOT_RUN = 1, 4
"""Of a loop that lacks a property, and of one that cannot be tried on this machine or with this workload."""

RESULTS = Path("results")
"""Where runs are kept unless another place is asked for."""
REFERENCE = RESULTS / "reference"
"""Where runs and calibrations are kept that a repository carries."""
