"""The doctor's checks as functions, and the host that they examine."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import groupby
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from loopmark.bench.measure.cgroup import numbers, text_of
from loopmark.bench.records.checks import Area, Check, CheckResult

P = ParamSpec("P")
T = TypeVar("T")
Find = Callable[Concatenate[Check, P], CheckResult]


class NotKnown(Exception):  # noqa: N818 - no error
    """A check cannot read its setting; the text gives the reason."""


def known(value: T | None, reason: str) -> T:
    """``value``. Raises NotKnown with ``reason`` if it is None or NaN."""
    if value is None or value != value:
        raise NotKnown(reason)
    return value


def check_of(area: Area, name: str) -> Callable[[Find[P]], Callable[P, CheckResult]]:
    """Make a function the check ``name``. Its docstring is printed as the reason why the setting matters for timing."""

    def bind(find: Find[P]) -> Callable[P, CheckResult]:
        check = Check(area, name, " ".join((find.__doc__ or "").split()))

        @wraps(find)
        def bound(*arguments: P.args, **options: P.kwargs) -> CheckResult:
            try:
                return find(check, *arguments, **options)
            except NotKnown as reason:
                return check.not_known(str(reason))

        return bound

    return bind


def graded(check: Check, reading: str, remedy: str, *commands: str, bad: bool, poor: bool) -> CheckResult:
    """The result of a reading: bad, could be better if ``poor``, or good, which needs no remedy."""
    if not bad and not poor:
        return check.good(reading)
    return (check.bad if bad else check.could_be_better)(reading, remedy, *commands)


@dataclass(frozen=True)
class HostView:
    """The machine as seen in its kernel's files and environment, and the cores and threads that Loopmark would use."""

    root: Path  # the folder of /proc and /sys; tests build their own
    cores: tuple[int, ...]  # logical cores that processes are pinned to; empty where the system cannot pin
    threads: int
    variables: Mapping[str, str]  # the environment

    def text(self, path: str) -> str | None:
        """A file's stripped text; None if it is empty, missing or unreadable."""
        return text_of(self.root / path)

    def number(self, path: str) -> int | None:
        """A file's integer; None if it holds none."""
        text = self.text(path) or ""
        return int(text) if text.lstrip("-").isdecimal() else None

    def present(self, path: str) -> bool:
        return (self.root / path).exists()

    def core_list(self) -> str:
        """The cores used, as text: ``cores 0-1``."""
        return listed("core", self.cores)

    def online(self) -> tuple[int, ...]:
        """The logical cores of the whole machine; empty where it does not show them."""
        return numbers(self.text("sys/devices/system/cpu/online") or "")

    def virtual(self) -> bool | None:
        """True if this is a virtual machine; None where neither the processor's flags nor the kernel show it."""
        if self.present("sys/hypervisor/type"):
            return True
        lines = (self.text("proc/cpuinfo") or "").splitlines()
        flags = next((line for line in lines if line.startswith("flags")), None)  # only x86 has the flag
        return None if flags is None else "hypervisor" in flags.split()


def this_host() -> HostView:
    """The machine of this process, with the cores and threads that `loopmark run` uses by default."""
    from loopmark.bench.measure.machine import available_cores, default_threads

    threads = default_threads()
    return HostView(Path("/"), available_cores()[:threads], threads, dict(os.environ))


def listed(noun: str, values: Sequence[int]) -> str:
    """``core 3``, or ``cores 0-1,6``."""
    return f"{noun}{'s' if len(values) != 1 else ''} {spans(values)}"


def spans(values: Sequence[int]) -> str:
    """Numbers in the format of the kernel and of `taskset`: ``0-2,7``."""
    runs = groupby(enumerate(sorted(set(values))), key=lambda pair: pair[1] - pair[0])
    found = [[value for _, value in run] for _, run in runs]
    return ",".join(f"{span[0]}-{span[-1]}" if len(span) > 1 else f"{span[0]}" for span in found)


def counted(number: int, noun: str) -> str:
    """``1 core``, or ``2 cores``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
