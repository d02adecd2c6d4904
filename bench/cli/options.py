"""The options that several commands share, each with one meaning and one text."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = Path("results")  # the default folder of runs
REFERENCE = RESULTS / "reference"  # the runs and calibrations committed to the repository


class InconclusiveCounts(StrEnum):
    PASS = "pass"
    FAIL = "fail"


# The workloads and loops to measure.
Workloads = Annotated[
    list[str] | None,
    typer.Option(
        "--workload",
        metavar="NAME",
        help="Use this workload, hf:MODEL, timm:MODEL or file.py:make_task. Repeat it, or use commas.",
    ),
]
Loops = Annotated[
    list[str] | None,
    typer.Option(
        "--loop",
        metavar="NAME",
        help="Use this loop: techniques joined by +, or file.py:step. Repeat it, or use commas.",
    ),
]
Baseline = Annotated[
    str | None, typer.Option("--baseline", metavar="NAME", help="Compare the others with this loop. Default: eager.")
]
Workload = Annotated[
    str,
    typer.Option("--workload", metavar="NAME", help="Train this workload, hf:MODEL, timm:MODEL or file.py:make_task."),
]
LoopArguments = Annotated[
    list[str], typer.Argument(metavar="LOOP...", help="Inspect these loops: techniques joined by +, or file.py:step.")
]
Only = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Show only this one. Repeat it, or use commas.")]
Quick = Annotated[bool, typer.Option("--quick", help="Use one workload and few loops, and finish soon.")]

# The conditions of the measurement.
Device = Annotated[str | None, typer.Option(help="Use cpu, cuda, cuda:N, xpu or mps. Default: cuda if present.")]
Size = Annotated[str | None, typer.Option(help="Use small or large. Default: small on a CPU, large on a GPU.")]
BatchSize = Annotated[
    int | None, typer.Option(help="Use this number of samples per step. Default: the workload's own.")
]
Threads = Annotated[int | None, typer.Option(help="Use this number of threads and cores. Default: the physical cores.")]
Seed = Annotated[int, typer.Option(help="Seed the weights and batches.")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Use deterministic algorithms only; the baseline shows their cost.")
]

# How a judgement is counted and reported.
Inconclusive = Annotated[
    InconclusiveCounts | None,
    typer.Option("--inconclusive", help="Count an inconclusive comparison as pass or as fail."),
]
Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML, with a case for each finding.")
]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write the findings as Markdown.")]


def limit(hung: str) -> Any:
    return typer.Option("--limit", help=f"Treat {hung} as hung after this number of seconds.")


Limit = Annotated[float, limit("a start or warm-up")]


def run(use: str, metavar: str = "RUN", drawn: bool = False) -> Any:
    return typer.Argument(metavar=metavar, parser=drawn_folder if drawn else run_folder, help=use)


def value(metavar: str, use: str) -> Any:
    return typer.Option(metavar=metavar, help=use)


def out(content: str) -> Any:
    return typer.Option("--out", help=f"Write to this folder: {content}.")


def json_of(content: str) -> Any:
    return typer.Option("--json", help=f"Print only {content}, as JSON.")


FoundJson = Annotated[bool, json_of("what was found")]
SummaryJson = Annotated[bool, json_of("the summary")]
JudgementJson = Annotated[bool, json_of("the judgement")]


def names(options: list[str] | None) -> tuple[str, ...]:
    """The names in an option that can be repeated, and can hold several names separated by commas."""
    return tuple(name.strip() for option in options or () for name in option.split(","))


def run_folder(text: str) -> Path:
    """The folder of a stored run, by its path or name."""
    from loopmark.bench.records.store import named

    return named(text, RESULTS)


def drawn_folder(text: str) -> Path:
    """The folder of a stored run, training or search, by its path or name."""
    from loopmark.bench.records.batch_sizes import BATCH_SIZES_FILE
    from loopmark.bench.records.store import RUN_FILE, named
    from loopmark.bench.records.training import TRAINING_FILE

    return named(text, RESULTS, (RUN_FILE, TRAINING_FILE, BATCH_SIZES_FILE))
