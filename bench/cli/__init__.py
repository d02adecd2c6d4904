"""The ``loopmark`` command: the only place that knows all the wings, each imported when it is needed."""

import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from loopmark import __version__
from loopmark.bench.cli.ab import ab
from loopmark.bench.cli.calibrate import calibrate
from loopmark.bench.cli.ceilings import ceilings
from loopmark.bench.cli.check import check
from loopmark.bench.cli.compare import compare, history
from loopmark.bench.cli.exchange import export, import_
from loopmark.bench.cli.inspection import memory, trace, verify
from loopmark.bench.cli.invocation import BAD_INPUT, CRASHED, INTERRUPTED
from loopmark.bench.cli.machine import doctor, list_
from loopmark.bench.cli.measure import find_batch, run, train
from loopmark.bench.cli.report import report
from loopmark.bench.errors import BadInput
from loopmark.bench.report.text import plain

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LONGEST_LINE = 1000

# The commands, by what a person wants of them.
PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "measure": {
        "run": run,
        "train": train,
        "ab": ab,
        "find-batch": find_batch,
        "ceilings": ceilings,
        "trace": trace,
        "memory": memory,
        "calibrate": calibrate,
    },
    "compare": {"check": check, "compare": compare, "history": history},
    "understand": {"list": list_, "report": report, "verify": verify, "doctor": doctor},
    "exchange": {"export": export, "import": import_},
}


class _Panels(TyperGroup):
    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Show the commands by their panels. Typer would itself, but only in the boxes that rich draws."""
        room = formatter.width - 6 - max(map(len, self.commands))
        for panel, commands in PANELS.items():
            with formatter.section(panel.capitalize()):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(room)) for name in commands])


app = typer.Typer(
    name="loopmark",
    cls=_Panels,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def loopmark(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Time PyTorch training loops phase by phase, and say which technique pays on this machine."""
    if version:
        typer.echo(f"loopmark {__version__}")
        raise typer.Exit


for _panel, _commands in PANELS.items():
    for _name, _function in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_function)


def main() -> NoReturn:
    """Run the command line; a mistake in what was asked for is one line and exit status 2."""
    # Of times too small or too large to compute with, numpy has remarks; what came of them is shown as absent.
    warnings.simplefilter("ignore", RuntimeWarning)
    if isinstance(sys.stderr, io.TextIOWrapper):  # a terminal without our letters gets a stand-in, not an error
        sys.stderr.reconfigure(errors="replace")
    try:
        with _patient_output():
            status = app(sys.argv[1:] or ["--help"], standalone_mode=False, prog_name="loopmark")
    except KeyboardInterrupt:
        print("loopmark: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "loopmark":
            raise
        _say_mistake(f"{sys.executable} has no module '{error.name}'; `make bench` installs all that is needed")
    except (BadInput, OSError) as error:
        _say_mistake(str(error))
    except Exception as error:
        # Typer carries its own copy of click, or depends on one, by version; both errors can word themselves.
        if not hasattr(error, "format_message"):
            traceback.print_exc()
            sys.exit(CRASHED)
        command = next((f"{name} " for name in sys.argv[1:2] for panel in PANELS.values() if name in panel), "")
        _say_mistake(f"{error.format_message()} See: loopmark {command}--help")
    if status == INTERRUPTED:
        print("loopmark: interrupted", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _say_mistake(text: str) -> NoReturn:
    line = plain(text)
    print(f"loopmark: {line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + '…'}", file=sys.stderr)
    sys.exit(BAD_INPUT)


class _Pipe(io.FileIO):
    """What goes to a pipe that nobody reads any more goes nowhere."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            return super().write(data)


@contextmanager
def _patient_output() -> Iterator[None]:
    """Have ``sys.stdout`` outlive its reader, and write all of it by the end. Raises OSError where a disk is full."""
    if sys.stdout is None:  # it was closed before we began
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield
        return
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # it is no file of the system's
        yield
        return
    sys.stdout.flush()
    binary = io.BufferedWriter(_Pipe(number, "w", closefd=False))
    # A terminal without our letters gets a stand-in, not an error.
    output = io.TextIOWrapper(binary, encoding=sys.stdout.encoding, errors="replace", line_buffering=os.isatty(number))
    with redirect_stdout(output):
        try:
            yield
        finally:
            output.flush()
