"""The options that several commands take, each with one meaning and one text."""

from collections.abc import Iterable
from typing import Annotated

import typer

from loopmark.bench.errors import BadInput

WorkloadsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--workload", metavar="NAME", help="A workload, or file.py:make_task; several with commas, or repeated."
    ),
]
LoopsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--loop", metavar="NAME", help="Techniques joined by +, or file.py:step; several with commas, or repeated."
    ),
]
OnlyOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Only these; several with commas, or repeated.")
]
DeviceOption = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:N, xpu or mps; default: cuda where there is one.")
]
LoopArguments = Annotated[
    list[str], typer.Argument(metavar="LOOP...", help="Techniques joined by +, or your own: file.py:step.")
]
WorkloadOption = Annotated[
    str, typer.Option("--workload", metavar="NAME", help="What it trains: a workload, or file.py:make_task.")
]
SeedOption = Annotated[int, typer.Option(help="Of weights and batches.")]
FoundJsonOption = Annotated[bool, typer.Option("--json", help="Print what was found as JSON, and only that.")]
SizeOption = Annotated[str | None, typer.Option(help="small or large; default: small on a CPU, large on a GPU.")]
BatchSizeOption = Annotated[int | None, typer.Option(help="Samples a step; default: the workload's own.")]
ThreadsOption = Annotated[int | None, typer.Option(help="Threads and cores; default: the physical cores.")]
LimitOption = Annotated[float, typer.Option(help="Seconds after which a start or warm-up counts as hung.")]
DeterministicOption = Annotated[
    bool, typer.Option("--deterministic", help="Only torch's deterministic algorithms; eager shows what they cost.")
]
QuickOption = Annotated[bool, typer.Option("--quick", help="One workload and few loops, briefly.")]
SummaryJsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and only that.")]


def names(options: list[str] | None) -> tuple[str, ...]:
    """Options that may be repeated, and may hold several names with commas between."""
    return tuple(name.strip() for option in options or () for name in option.split(","))


def is_same_loop(one: str, other: str) -> bool:
    """Whether two names are of one loop, whatever the order of their techniques."""
    return sorted(one.split("+")) == sorted(other.split("+"))


def refuse_unknown(kind: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    """Raise BadInput for a ``wanted`` name, of a workload or a loop, that none of the runs at hand has."""
    there = sorted(known)
    for name in wanted:
        if not any(is_same_loop(name, one) for one in there):
            raise BadInput(f"no {kind} named '{name}' in these runs; they have {', '.join(there)}")
