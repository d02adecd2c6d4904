"""The ``loopmark`` command: the only place that knows all the wings, each imported when it is needed."""

import io
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from bench import __version__
from bench.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from bench.judge.summary import Summary
    from bench.measure.inventory import Item

NOT_MEASURED, BAD_INPUT, INTERRUPTED = 1, 2, 130
LONGEST_LINE = 1000

app = typer.Typer(
    name="loopmark",
    help="Time PyTorch training loops phase by phase, and say which technique pays on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def loopmark(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Time PyTorch training loops phase by phase, and say which technique pays on this machine."""
    if version:
        typer.echo(f"loopmark {__version__}")
        raise typer.Exit


@app.command()
def run(
    workload: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A workload, or file.py:make_task; several with commas, or repeated."),
    ] = None,
    loop: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Techniques joined by +, or file.py:step; several with commas, or repeated."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; default: cuda where there is one.")] = None,
    size: Annotated[str | None, typer.Option(help="small or large; default: small on a CPU, large on a GPU.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step; default: the workload's own.")] = None,
    budget: Annotated[float | None, typer.Option(help="Seconds of sampling per case; default: 4.")] = None,
    launches: Annotated[int | None, typer.Option(help="Fresh processes per case; default: 5.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, batches and the order of turns.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads and cores; default: the physical cores.")] = None,
    limit: Annotated[float, typer.Option(help="Seconds after which a start or warm-up counts as hung.")] = 300.0,
    out: Annotated[Path, typer.Option(help="The folder that gets <machine>/<run>/.")] = Path("results"),
    quick: Annotated[bool, typer.Option("--quick", help="One workload and few loops, briefly.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and only that.")] = False,
) -> None:
    """Measure loops, each in processes of its own, and write a report.

    Every run measures eager as well, twice: as the baseline, and again for the run's noise floor.
    Exit status: 0, or 1 when a case failed or timed out, 2 for bad input, 130 when interrupted.
    """
    from datetime import UTC, datetime

    from bench.progress import RunProgress, stderr_console

    console = stderr_console()
    if not as_json and console.is_terminal:
        console.print("importing torch …", style="dim", end="\r")
    from bench.measure.plan import Wish, make_plan

    plan = make_plan(
        Wish(
            command=["loopmark", *sys.argv[1:]],
            workloads=_names(workload),
            loops=_names(loop),
            device=device,
            size=size,
            batch_size=batch_size,
            budget_seconds=budget,
            launches=launches,
            seed=seed,
            threads=threads,
            limit_seconds=limit,
            quick=quick,
        )
    )
    from bench.measure.conduct import Conductor
    from bench.measure.machine import describe_machine
    from bench.measure.process import apart
    from bench.records.store import create_folder
    from bench.report.draw import draw

    started, machine = datetime.now(UTC), apart(describe_machine, plan.device)
    # A polite `kill` is as good as Ctrl-C: processes end, and what was measured is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with RunProgress(console) as progress:
        conductor = Conductor(plan, machine, started, progress)
        folder = create_folder(out, machine.name, started.isoformat())
        measured, samples = conductor.conduct(folder)
    _show(draw(folder, measured, samples), folder, as_json, console)
    if measured.interrupted:
        raise typer.Exit(INTERRUPTED)
    if any(case.status in ("failed", "timed_out") for case in measured.cases):
        raise typer.Exit(NOT_MEASURED)


@app.command("list")
def list_() -> None:
    """Say every workload, loop and technique, and whether it can run here."""
    from rich.console import Console

    from bench.measure import inventory

    device = inventory.default_device()
    console = Console(highlight=False)
    console.print("Workloads  (--workload NAME, or your own: file.py:make_task)", style="bold", markup=False)
    _print_items(console, inventory.workloads())
    console.print()
    title = f"Loops  (--loop NAME, techniques joined by +, or your own: file.py:step), on {device.type}"
    console.print(title, style="bold", markup=False)
    _print_items(console, inventory.loops(device))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A folder that `loopmark run` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and only that.")] = False,
) -> None:
    """Draw a stored run again: summary.csv, report.md and the plots. Needs no torch."""
    from bench.progress import stderr_console
    from bench.records.store import read
    from bench.report.draw import draw

    measured, samples = read(run)
    _show(draw(run, measured, samples), run, as_json, stderr_console())


def main() -> NoReturn:
    """Run the command line; a mistake in what was asked for is one line and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without our letters gets a stand-in, not an error
            stream.reconfigure(errors="replace")
    try:
        status = app(standalone_mode=False, prog_name="loopmark")
    except BadInput as error:
        _say_mistake(str(error))
    except KeyboardInterrupt:
        print("loopmark: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"bench", "loops"}:
            raise
        _say_mistake(f"{sys.executable} has no module '{error.name}'; `make bench` installs all that is needed")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        print(f"loopmark: {error}", file=sys.stderr)
        sys.exit(NOT_MEASURED)
    except Exception as error:
        # Typer carries its own copy of click, or depends on one, by version; both errors can word themselves.
        if not hasattr(error, "format_message"):
            raise
        _say_mistake(f"{error.format_message()} See: loopmark {_command()}--help")
    if status == INTERRUPTED:
        print("loopmark: interrupted", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _say_mistake(text: str) -> NoReturn:
    line = " ".join(text.split())
    print(f"loopmark: {line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + '…'}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def _command() -> str:
    named = sys.argv[1] if len(sys.argv) > 1 else ""
    return f"{named} " if named in {"run", "list", "report"} else ""


def _names(options: list[str] | None) -> tuple[str, ...]:
    """Options that may be repeated, and may hold several names with commas between."""
    return tuple(name.strip() for option in options or () for name in option.split(","))


def _print_items(console: "Console", items: "tuple[Item, ...]") -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for item in items:
        table.add_row(item.name, "no" if item.lacks else "yes", item.lacks or item.summary)
    console.print(table)


def _show(summary: "Summary", folder: Path, as_json: bool, console: "Console") -> None:
    from bench.report.draw import as_json as to_json
    from bench.report.table import print_summary

    if as_json:
        content: dict[str, Any] = {"folder": str(folder), **to_json(summary)}
        print(json.dumps(content, indent=2, allow_nan=False))
    else:
        print_summary(summary)
        console.print(f"Report: {folder / 'report.md'}", markup=False, highlight=False, soft_wrap=True)
