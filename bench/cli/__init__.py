"""The ``loopmark`` command: the only place that knows all the wings, each imported when it is needed."""

import io
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from loopmark import __version__
from loopmark.bench.cli.ab import ab
from loopmark.bench.cli.calibrate import calibrate
from loopmark.bench.cli.ceilings import ceilings
from loopmark.bench.cli.check import check
from loopmark.bench.cli.compare import compare
from loopmark.bench.cli.doctor import doctor
from loopmark.bench.cli.export import export
from loopmark.bench.cli.history import history
from loopmark.bench.cli.import_ import import_
from loopmark.bench.cli.list import list_
from loopmark.bench.cli.memory import memory
from loopmark.bench.cli.output import patient_output
from loopmark.bench.cli.report import report
from loopmark.bench.cli.run import run
from loopmark.bench.cli.status import BAD_INPUT, CRASHED, INTERRUPTED
from loopmark.bench.cli.trace import trace
from loopmark.bench.cli.train import train
from loopmark.bench.cli.verify import verify
from loopmark.bench.errors import BadInput
from loopmark.bench.report.text import plain

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


COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "train": train,
    "ab": ab,
    "list": list_,
    "report": report,
    "check": check,
    "compare": compare,
    "history": history,
    "export": export,
    "import": import_,
    "calibrate": calibrate,
    "verify": verify,
    "doctor": doctor,
    "ceilings": ceilings,
    "trace": trace,
    "memory": memory,
}
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)


def main() -> NoReturn:
    """Run the command line; a mistake in what was asked for is one line and exit status 2."""
    # Of times too small or too large to compute with, numpy has remarks; what came of them is shown as absent.
    warnings.simplefilter("ignore", RuntimeWarning)
    if isinstance(sys.stderr, io.TextIOWrapper):  # a terminal without our letters gets a stand-in, not an error
        sys.stderr.reconfigure(errors="replace")
    try:
        with patient_output():
            status = app(sys.argv[1:] or ["--help"], standalone_mode=False, prog_name="loopmark")
    except BadInput as error:
        _say_mistake(str(error))
    except KeyboardInterrupt:
        print("loopmark: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "loopmark":
            raise
        _say_mistake(f"{sys.executable} has no module '{error.name}'; `make bench` installs all that is needed")
    except OSError as error:
        _say_mistake(str(error))
    except Exception as error:
        # Typer carries its own copy of click, or depends on one, by version; both errors can word themselves.
        if not hasattr(error, "format_message"):
            traceback.print_exc()
            sys.exit(CRASHED)
        _say_mistake(f"{error.format_message()} See: loopmark {_command()}--help")
    if status == INTERRUPTED:
        print("loopmark: interrupted", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _say_mistake(text: str) -> NoReturn:
    line = plain(text)
    print(f"loopmark: {line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + '…'}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def _command() -> str:
    named = sys.argv[1] if len(sys.argv) > 1 else ""
    return f"{named} " if named in COMMANDS else ""
