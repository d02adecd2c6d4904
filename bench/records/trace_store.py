"""Where a trace is kept: beside its machine's runs, in a folder that nothing takes for one of them."""

from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.store import RUN_FILE, create_folder
from loopmark.bench.records.tables import line

TRACES = "traces"
TRACE_FILE, KERNELS_FILE = "trace.json.gz", "kernels.csv"


def create_trace_folder(root: Path, machine: str, started: str, slug: str) -> Path:
    """A new, empty folder ``root/machine/traces/<start>-<slug>``.

    Args:
        started: UTC, ISO 8601.
        slug: the case's name as a part of a file name.
    """
    return create_folder(root / machine, TRACES, started, f"-{slug}")


def refuse_run_folder(folder: Path) -> None:
    """Raise BadInput for the folder of a run: what was profiled is never kept among what was measured."""
    if (folder / RUN_FILE).exists():
        raise BadInput(f"{folder} holds a run, and profiled steps never mix with measured ones; choose another --out")


def write_trace(folder: Path, trace: bytes, kernels: str) -> None:
    """Keep both files in ``folder``, made where there is none, each replaced in one move.

    Args:
        trace: the Chrome trace, compressed.
        kernels: every kernel of every phase, as CSV.

    Raises:
        BadInput: they cannot be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / TRACE_FILE, trace)
        # A lone surrogate is how Python holds a name that is not UTF-8; it is kept as its escape.
        replace_file(folder / KERNELS_FILE, kernels.encode(errors="backslashreplace"))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"cannot write to {folder}: {line(error)}; choose another --out") from None
