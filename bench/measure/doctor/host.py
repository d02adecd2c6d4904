"""What a check of the doctor is, and the host that it looks at."""

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
    """What a check looks at is not shown; the text says why."""


def known(value: T | None, reason: str) -> T:
    """``value``. Raises NotKnown for ``reason`` where there is none: None, or NaN."""
    if value is None or value != value:
        raise NotKnown(reason)
    return value


def check_of(area: Area, name: str) -> Callable[[Find[P]], Callable[P, CheckResult]]:
    """Make a function the check of that name; its docstring says why what is looked at matters for timing."""

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


@dataclass(frozen=True)
class HostView:
    """The machine as its kernel and its environment show it, and what Loopmark would use of it."""

    root: Path  # what /proc and /sys lie in; a test builds one of its own
    cores: tuple[int, ...]  # the logical cores that its processes are pinned to; empty where a system cannot pin
    threads: int
    variables: Mapping[str, str]  # the environment

    def text(self, path: str) -> str | None:
        """A file's text without the space around it; None where it is empty, missing or not to be read."""
        return text_of(self.root / path)

    def number(self, path: str) -> int | None:
        """A file's whole number; None where it holds none."""
        text = self.text(path) or ""
        return int(text) if text.lstrip("-").isdecimal() else None

    def present(self, path: str) -> bool:
        return (self.root / path).exists()

    def core_list(self) -> str:
        """The cores used, for people: ``cores 0-1``."""
        return listed("core", self.cores)

    def online(self) -> tuple[int, ...]:
        """The logical cores of the whole machine, as far as it shows them."""
        return numbers(self.text("sys/devices/system/cpu/online") or "")

    def virtual(self) -> bool | None:
        """Whether a hypervisor is below; None where the processor has no mark for it, and nothing else tells."""
        if self.present("sys/hypervisor/type"):
            return True
        lines = (self.text("proc/cpuinfo") or "").splitlines()
        flags = next((line for line in lines if line.startswith("flags")), None)  # x86 alone has the mark
        return None if flags is None else "hypervisor" in flags.split()


def this_host() -> HostView:
    """The machine that this process runs on, and what `loopmark run` would use of it by default."""
    from loopmark.bench.measure.machine import available_cores, default_threads

    threads = default_threads()
    return HostView(Path("/"), available_cores()[:threads], threads, dict(os.environ))


def listed(noun: str, values: Sequence[int]) -> str:
    """``core 3``, or ``cores 0-1,6``."""
    return f"{noun}{'s' if len(values) != 1 else ''} {spans(values)}"


def spans(values: Sequence[int]) -> str:
    """Numbers as the kernel lists them, and `taskset` takes them: ``0-2,7``."""
    runs = groupby(enumerate(sorted(set(values))), key=lambda pair: pair[1] - pair[0])
    found = [[value for _, value in run] for _, run in runs]
    return ",".join(f"{span[0]}-{span[-1]}" if len(span) > 1 else f"{span[0]}" for span in found)


def counted(number: int, noun: str) -> str:
    """``1 core``, or ``2 cores``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
