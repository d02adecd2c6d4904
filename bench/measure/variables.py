"""Environment variables that hold while the fork server starts, and not beyond: for it, its children and us."""

import json
import os

RESTORE = "LOOPMARK_RESTORE"
"""Names the variables that were changed, each with its value before; None where it had none."""


def restore_variables() -> None:
    """Put back what ``RESTORE`` names."""
    for name, value in json.loads(os.environ.pop(RESTORE, "{}")).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
