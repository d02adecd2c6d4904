"""A command of a person, started with Loopmark's hooks in its Python."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.watching.loopmark_hooks import FOLDER, STEPS

HOOKS = Path(__file__).resolve().parent / "site"
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
FROM_TERMINAL = 0x80  # a signal's si_code where the kernel sent it: the terminal has sent it to the script as well
PATIENCE_SECONDS = 10.0  # for a script that was asked to end, before it is asked more firmly


def variables(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` with the variables that load the hooks; the processes' rows go to ``folder``."""
    path = os.pathsep.join(filter(None, (str(HOOKS), environment.get("PYTHONPATH"))))
    return {**environment, FOLDER: str(folder), "PYTHONPATH": path}


class WatchedCommand:
    """A running command, in the terminal's foreground as if Loopmark were not there. Use it as a context manager."""

    def __init__(self, command: Sequence[str], folder: Path, steps: int | None) -> None:
        """Start it. Raises BadInput if it cannot be started."""
        environment = {**variables(folder, os.environ), **({STEPS: str(steps)} if steps else {})}
        waited = {signal.SIGCHLD, *FORWARDED}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
        try:
            self._process = subprocess.Popen(
                command, env=environment, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before)
            )
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise BadInput(f"cannot start {command[0]}: {error.strerror}") from None
        self._waited, self._before = waited, before
        self._asked_at: float | None = None
        self.ended_by_force = False

    def __enter__(self) -> "WatchedCommand":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._signal_all(signal.SIGKILL)
            self._process.wait()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, tick: Callable[[], bool], seconds: float) -> int:
        """The exit status, as a shell gives it; ``tick`` is called every few ``seconds``.

        A signal that only this process got goes on to the command. Once ``tick`` returns True, the command has been
        asked to end, and is ended if it does not.
        """
        while (code := self._process.poll()) is None:
            got = signal.sigtimedwait(self._waited, seconds)
            if got is not None and got.si_signo in FORWARDED and got.si_code != FROM_TERMINAL:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(got.si_signo)
            if tick():
                self._insist()
        return code if code >= 0 else 128 - code

    def _insist(self) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at > PATIENCE_SECONDS:
            self._signal_all(signal.SIGKILL if self.ended_by_force else signal.SIGTERM)
            self._asked_at, self.ended_by_force = now, True

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal the command and every process that it started."""
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self._process.pid)
            for process in (*own.children(recursive=True), own):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
