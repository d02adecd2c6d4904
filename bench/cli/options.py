"""The options that several commands take, each with one meaning and one text."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = Path("results")  # where runs are kept unless another place is asked for
REFERENCE = RESULTS / "reference"  # where runs and calibrations are kept that a repository carries


class InconclusiveCounts(StrEnum):
    """How an inconclusive comparison is counted."""

    PASS = "pass"
    FAIL = "fail"


# What is measured.
Workloads = Annotated[
    list[str] | None,
    typer.Option(
        "--workload", metavar="NAME", help="A workload, or file.py:make_task; several with commas, or repeated."
    ),
]
Loops = Annotated[
    list[str] | None,
    typer.Option(
        "--loop", metavar="NAME", help="Techniques joined by +, or file.py:step; several with commas, or repeated."
    ),
]
Workload = Annotated[
    str, typer.Option("--workload", metavar="NAME", help="What it trains: a workload, or file.py:make_task.")
]
LoopArguments = Annotated[
    list[str], typer.Argument(metavar="LOOP...", help="Techniques joined by +, or your own: file.py:step.")
]
Only = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only these; several with commas, or repeated.")]
Quick = Annotated[bool, typer.Option("--quick", help="One workload and few loops, briefly.")]

# How it is measured.
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N, xpu or mps; default: cuda where there is one.")]
Size = Annotated[str | None, typer.Option(help="small or large; default: small on a CPU, large on a GPU.")]
BatchSize = Annotated[int | None, typer.Option(help="Samples a step; default: the workload's own.")]
Threads = Annotated[int | None, typer.Option(help="Threads and cores; default: the physical cores.")]
Seed = Annotated[int, typer.Option(help="Of weights and batches.")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Only torch's deterministic algorithms; eager shows what they cost.")
]

# How a judgement is counted and told.
Inconclusive = Annotated[
    InconclusiveCounts | None, typer.Option("--inconclusive", help="What an inconclusive comparison counts as.")
]
Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML: a case for each finding.")
]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write the findings as Markdown.")]


def limit(hung: str) -> Any:
    return typer.Option("--limit", help=f"Seconds after which {hung} counts as hung.")


Limit = Annotated[float, limit("a start or warm-up")]


def out(content: str) -> Any:
    return typer.Option("--out", help=f"The folder that gets {content}.")


def json_of(content: str) -> Any:
    return typer.Option("--json", help=f"Print {content} as JSON, and only that.")


FoundJson = Annotated[bool, json_of("what was found")]
SummaryJson = Annotated[bool, json_of("the summary")]
JudgementJson = Annotated[bool, json_of("the judgement")]


def names(options: list[str] | None) -> tuple[str, ...]:
    """Options that may be repeated, and may hold several names with commas between."""
    return tuple(name.strip() for option in options or () for name in option.split(","))
