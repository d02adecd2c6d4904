"""The ``loopmark`` command. Only this room imports all others, each when it is needed."""

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
from loopmark.bench.cli.check import check
from loopmark.bench.cli.compare import compare, history, runs
from loopmark.bench.cli.exchange import export, import_
from loopmark.bench.cli.init import init
from loopmark.bench.cli.inspection import doctor, list_, memory, trace, verify
from loopmark.bench.cli.invocation import BAD_INPUT, CRASHED, INTERRUPTED
from loopmark.bench.cli.measure import ceilings, find_batch, run, train
from loopmark.bench.cli.report import report
from loopmark.bench.cli.watch import watch
from loopmark.bench.errors import BadInput
from loopmark.bench.report.text import plain

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LONGEST_LINE = 1000
DEPENDENCIES = {
    *("torch", "numpy", "pandas", "pyarrow", "scipy", "ruptures", "matplotlib"),
    *("sklearn", "pynvml", "psutil", "cpuinfo", "rich", "typer", "jinja2"),
}
"""The modules that pyproject.toml's dependencies install."""

# The commands, grouped by purpose.
PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "begin": {"init": init},
    "measure": {
        "run": run,
        "watch": watch,
        "train": train,
        "ab": ab,
        "find-batch": find_batch,
        "ceilings": ceilings,
        "trace": trace,
        "memory": memory,
        "calibrate": calibrate,
    },
    "compare": {"check": check, "compare": compare, "history": history},
    "understand": {"list": list_, "runs": runs, "report": report, "verify": verify, "doctor": doctor},
    "exchange": {"export": export, "import": import_},
}
EXAMPLES = {
    "init": ("", "train.py --force"),
    "run": ("--quick", "--workload resnet --loop compile,amp_bf16 --budget 20"),
    "watch": ("-- python train.py", "--steps 500 -- torchrun --nproc-per-node 2 train.py"),
    "train": ("--quick", "--workload resnet --loop amp_fp16,accumulate_2 --seeds 5"),
    "ab": (
        "--base rev=main --loop loopmark_task.py:step",
        '--base "cmd=python train.py" --head "cmd=python train.py --amp"',
    ),
    "find-batch": ("--workload resnet --loop amp_bf16,checkpoint", "--workload gpt --batch-size 4 --budget 300"),
    "ceilings": ("--budget 60 --threads 1", "--device cuda:1 --json"),
    "trace": ("amp_bf16+compile", "loopmark_task.py:step --workload gpt --steps 5 --out my-trace"),
    "memory": ("eager accumulate_4 compile --workload gpt", "loopmark_task.py:step --json"),
    "calibrate": ("--workload resnet --loop eager", "--show"),
    "check": ("latest --baseline latest~1", "NEW --baseline OLD --threshold forward=5% --junit check.xml"),
    "compare": ("results", "OLD NEW --workload resnet --loop amp_bf16,compile"),
    "history": ("results", "results --workload resnet --loop compile --json"),
    "list": ("", "| grep compile"),
    "runs": ("", "results/reference --json"),
    "report": ("latest", "results/MACHINE/RUN --json"),
    "verify": ("eager compile", "loopmark_task.py:step+compile --workload gpt --json"),
    "doctor": ("", "--device cpu --json"),
    "export": ("results/MACHINE/RUN --to openmetrics", "results/MACHINE/RUN --to bencher --output bencher.json"),
    "import": ("before.json", 'before-1.json before-2.json --baseline "test_step[plain]"'),
}
"""The two at the end of each command's help."""


class _Panels(TyperGroup):
    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """List the commands by panel. Typer does this only in rich's boxes, which are switched off here."""
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
def loopmark(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Time PyTorch training loops phase by phase, and report which technique pays on this machine."""
    if version:
        typer.echo(f"loopmark {__version__}")
        raise typer.Exit


def epilog(command: str) -> str:
    """The examples of ``command`` as the end of its help, in lines that click does not wrap (``\\b``)."""
    lines = (f"  loopmark {command} {arguments}".rstrip() for arguments in EXAMPLES[command])
    return "\n".join(("\b", "Examples:", *lines))


for _panel, _commands in PANELS.items():
    for _name, _function in _commands.items():
        # The options after a watched command's first word are its own.
        own = {"ignore_unknown_options": True, "allow_interspersed_args": False} if _name == "watch" else {}
        app.command(_name, rich_help_panel=_panel, epilog=epilog(_name), context_settings=own)(_function)


def main() -> NoReturn:
    """Run the command line. Bad input prints one line and exits with status 2."""
    # numpy warns of times too small or too large to compute with. Their results are shown as absent.
    warnings.simplefilter("ignore", RuntimeWarning)
    if isinstance(sys.stderr, io.TextIOWrapper):  # replace what the terminal cannot encode
        sys.stderr.reconfigure(errors="replace")
    try:
        _refuse_lost_folder()
        with _patient_output():
            status = app(sys.argv[1:] or ["--help"], standalone_mode=False, prog_name="loopmark")
    except KeyboardInterrupt:
        print("loopmark: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (BadInput, OSError) as error:
        if (theirs := getattr(error.__cause__, "__cause__", None)) is not None:  # raised by the user's own file
            from loopmark.bench.measure.answers import traceback_of

            print(traceback_of(theirs), file=sys.stderr)
        _say_mistake(str(error))
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in DEPENDENCIES:
            _say_mistake(f"{sys.executable} has no module '{error.name}'; `make bench` installs everything needed")
        # Some versions of Typer bundle click, others depend on it. Both kinds of error have format_message.
        if not hasattr(error, "format_message"):
            traceback.print_exc()
            sys.exit(CRASHED)
        command = next((f"{name} " for name in sys.argv[1:2] for panel in PANELS.values() if name in panel), "")
        _say_mistake(f"{error.format_message()} See: loopmark {command}--help")
    if status == INTERRUPTED:
        print("loopmark: interrupted", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _refuse_lost_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise BadInput("the working folder no longer exists; change to a folder that does") from None


def _say_mistake(text: str) -> NoReturn:
    line = plain(text)
    print(f"loopmark: {line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + '…'}", file=sys.stderr)
    sys.exit(BAD_INPUT)


class _Pipe(io.FileIO):
    """A file that discards what is written after its reader has closed the pipe."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            return super().write(data)


@contextmanager
def _patient_output() -> Iterator[None]:
    """Keep ``sys.stdout`` usable after its pipe is closed, and flush it at the end. Raises OSError on a full disk."""
    if sys.stdout is None:  # stdout was closed before the start
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield
        return
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # stdout has no file descriptor
        yield
        return
    sys.stdout.flush()
    binary = io.BufferedWriter(_Pipe(number, "w", closefd=False))
    # Replace the characters that the terminal cannot encode, instead of raising.
    output = io.TextIOWrapper(binary, encoding=sys.stdout.encoding, errors="replace", line_buffering=os.isatty(number))
    with redirect_stdout(output):
        try:
            yield
        finally:
            output.flush()
