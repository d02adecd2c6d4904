"""Call ``loopmark`` in a process of its own, or in this one, whose fork server starts once."""

import contextlib
import io
import multiprocessing.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from loopmark.bench.cli import main

ROOT = Path(__file__).parents[2]

Ended = subprocess.CompletedProcess[str]


def outside_pytest() -> dict[str, str]:
    """This environment without the variables that make a nested pytest act as an xdist worker."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


class Done(NamedTuple):
    """The result of a command."""

    returncode: int
    stdout: str
    stderr: str


BRIEFLY = "from tests.support.command import main, shorten; shorten(); main()"
"""The program ``loopmark``, but a run is as short as it can be."""


def shorten(replace: Callable[[object, str, object], None] = setattr) -> None:
    """Let every run of this process take short blocks, hardly warm up, and spend one second on its device's ceilings.

    A test that uses it must not look at the figures.
    """
    from loopmark.bench.measure import plan  # imported late, since it imports torch

    whole, brief = plan.Plan, {"block_seconds": 0.001, "warmup_ceiling_seconds": 0.02}
    replace(plan, "Plan", lambda **facts: whole(**{**facts, **brief}))
    replace(plan, "ceiling_seconds", lambda *, quick: 1.0)


def loopmark(
    *arguments: object, cwd: Path = ROOT, program: tuple[str, str] = ("-m", "loopmark"), **variables: str
) -> Ended:
    """Run it in a process of its own, with these variables added to its environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "NO_COLOR": "1", **variables}
    command = [sys.executable, *program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=240, check=False)


@contextlib.contextmanager
def _signal_handlers_put_back() -> Iterator[None]:
    """Restore the handlers that a command set: a process of a later test would inherit ignored signals."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _ended(patch: pytest.MonkeyPatch, arguments: tuple[object, ...]) -> int:
    """The exit status of ``loopmark``, called in this process."""
    patch.setattr("sys.argv", ["loopmark", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    code = end.value.code
    assert isinstance(code, int)
    return code


class Here:
    """Run it in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def __call__(self, *arguments: object) -> Done:
        self._capfd.readouterr()
        code = _ended(self._monkeypatch, arguments)
        return Done(code, *self._capfd.readouterr())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """``loopmark``, called in this process and in the repository's root."""
    monkeypatch.chdir(ROOT)
    with _signal_handlers_put_back():
        yield Here(monkeypatch, capfd)


def called(*arguments: object) -> Done:
    """Like ``here``, for a result that all tests of a module share."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        _signal_handlers_put_back(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(ROOT)
        code = _ended(patch, arguments)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def elsewhere(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """``loopmark``, called in this process, from the test's own folder with its own temporary folder."""
    (tmp_path / "tmp").mkdir()
    multiprocessing.util.get_temp_dir()  # keep the fork server's sockets outside: their paths must be short
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return here


@pytest.fixture
def brief_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is called in this process is as short as it can be."""
    shorten(monkeypatch.setattr)


@pytest.fixture
def brief_pairs(brief_runs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launch pairs in this process have as few quads as possible: the tested difference is ten times the noise."""
    for name in ("PAIR_SECONDS", "SHARE_OF_START"):
        monkeypatch.setattr(f"loopmark.bench.measure.paired_measurement.{name}", 0.0)
    from loopmark.bench.measure.launcher import ForkServer

    ForkServer()  # else a comparison of revisions starts one whose launches each import the loops
