"""What a profiler saw, as plain records: what ran on each thread of the host, and each kernel with its launch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

RANGES, OPERATORS = {"user_annotation"}, {"cpu_op"}
LAUNCHES = {"cuda_runtime", "cuda_driver"}
KERNELS = {"kernel", "gpu_memcpy", "gpu_memset"}
"""Categories of a Chrome trace's events, as torch's own exporter names them."""


@dataclass(frozen=True)
class Span:
    """Something that ran on one thread of the host, or on one stream of a device."""

    name: str
    place: str
    """The thread, or the stream."""
    begin_nanoseconds: int
    end_nanoseconds: int
    correlation: int | None = None
    """What a launch and the kernels that it launched have in common; a graph's launch has many."""
    operator: int | None = None
    """The number of an operator or range; of a kernel, that of the innermost one that launched it."""

    @property
    def nanoseconds(self) -> int:
        """How long it took."""
        return self.end_nanoseconds - self.begin_nanoseconds


@dataclass(frozen=True)
class Timeline:
    """A whole trace."""

    ranges: tuple[Span, ...]
    """Named by whoever drives or wrote the step."""
    operators: tuple[Span, ...]
    launches: tuple[Span, ...]
    """The host's calls that make a device work."""
    kernels: tuple[Span, ...]
    """What ran on a device, copies and fills of memory included."""


def timeline_of(events: Iterable[Mapping[str, Any]]) -> Timeline:
    """The complete events (``"ph": "X"``) of a Chrome trace's ``traceEvents``."""
    complete = [event for event in events if event.get("ph") == "X"]

    def of(categories: set[str]) -> tuple[Span, ...]:
        return tuple(_span(event) for event in complete if event.get("cat") in categories)

    return Timeline(ranges=of(RANGES), operators=of(OPERATORS), launches=of(LAUNCHES), kernels=of(KERNELS))


def _span(event: Mapping[str, Any]) -> Span:
    # Microseconds with three decimals: as whole nanoseconds they add up and nest without rounding.
    begin = round(float(event["ts"]) * 1000)
    arguments = event.get("args", {})
    return Span(
        name=str(event.get("name", "")),
        place=f"{event.get('pid')}/{event.get('tid')}",
        begin_nanoseconds=begin,
        end_nanoseconds=begin + max(0, round(float(event.get("dur", 0)) * 1000)),
        correlation=arguments.get("correlation"),
        operator=arguments.get("External id"),
    )
