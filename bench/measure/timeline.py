"""A profiler's timeline, and the costs of each phase: the kernels that it launched, the operators that it ran.

This module uses no profiler and no device: timelines are plain records, so that a test can create one.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loopmark.bench.records.trace import OUTSIDE, Cost, PhaseCosts

RANGES, OPERATORS = {"user_annotation"}, {"cpu_op"}
LAUNCHES = {"cuda_runtime", "cuda_driver"}
KERNELS = {"kernel", "gpu_memcpy", "gpu_memset"}
"""Categories of a Chrome trace's events, as torch's own exporter names them."""


@dataclass(frozen=True)
class Span:
    """Something that ran on one thread of the host, or on one stream of a device."""

    name: str
    place: str  # the thread, or the stream
    begin_nanoseconds: int
    end_nanoseconds: int
    correlation: int | None = None
    """The id shared by a launch and its kernels; a graph's launch has many kernels."""
    operator: int | None = None
    """The number of an operator or range; for a kernel, of the innermost one that launched it."""

    @property
    def nanoseconds(self) -> int:
        return self.end_nanoseconds - self.begin_nanoseconds


@dataclass(frozen=True)
class Timeline:
    """A whole trace: the ranges, operators and launches of each host thread, and each kernel."""

    ranges: tuple[Span, ...]  # named by Loopmark or by the step's author
    operators: tuple[Span, ...]
    launches: tuple[Span, ...]  # the host's calls that make a device work
    kernels: tuple[Span, ...]  # kernels on a device, with copies and fills of memory


def timeline_of(events: Iterable[Mapping[str, Any]]) -> Timeline:
    """The complete events (``"ph": "X"``) of a Chrome trace's ``traceEvents``."""
    complete = [event for event in events if event.get("ph") == "X"]

    def of(categories: set[str]) -> tuple[Span, ...]:
        return tuple(_span(event) for event in complete if event.get("cat") in categories)

    return Timeline(ranges=of(RANGES), operators=of(OPERATORS), launches=of(LAUNCHES), kernels=of(KERNELS))


def _span(event: Mapping[str, Any]) -> Span:
    # Times are microseconds with three decimals; whole nanoseconds add up and nest without rounding.
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


STEP = "step"  # the range around each counted step
NOT_COUNTED = "first step, not counted"
"""The range around the first recorded step, which the profiler's own start-up slows down."""
_NANOSECONDS = 1e9


@dataclass(frozen=True)
class StepCosts:
    """The costs in a timeline, for an average step."""

    steps: int
    phases: tuple[PhaseCosts, ...]
    unattributed: tuple[Cost, ...] = ()


def kernel_costs(timeline: Timeline, phases: Sequence[str]) -> StepCosts:
    """The kernels of each phase, by their time on the device.

    A kernel belongs to the phase during which it was launched, from any thread: autograd's own thread launches
    backward's kernels. It may run later, when the host is already in another phase.
    ``phases``: the names of the ranges within each step; empty where the host sees no phases.
    """
    steps, windows = _windows(timeline, phases)
    found: dict[str, Calls] = {window.name: defaultdict(list) for window in windows}
    unattributed: Calls = defaultdict(list)
    for kernel, launch in _with_launches(timeline):
        window = None if launch is None else _window_at(windows, launch.begin_nanoseconds)
        if window:
            found[window.name][kernel.name].append(kernel.nanoseconds)
        elif launch is None or _window_at(steps, launch.begin_nanoseconds):
            unattributed[kernel.name].append(kernel.nanoseconds)
    return _sum(steps, windows, found, unattributed)


def operator_costs(timeline: Timeline, phases: Sequence[str]) -> StepCosts:
    """The operators of each phase by self time: their time without nested operators on the same thread.

    Time of a phase's own thread outside any operator is counted under ``OUTSIDE``.
    """
    steps, windows = _windows(timeline, phases)
    found: dict[str, Calls] = {window.name: defaultdict(list) for window in windows}
    ours = set(windows)
    for span, nanoseconds in _self_times((*timeline.ranges, *timeline.operators)):
        window = _window_at(windows, span.begin_nanoseconds)
        # A range around a phase, such as the step's, may begin at the same instant.
        if window and (span.place != window.place or _holds(window, span)):
            found[window.name][OUTSIDE if span in ours else span.name].append(nanoseconds)
    return _sum(steps, windows, found, {})


Calls = dict[str, list[int]]  # the nanoseconds of each call, by kernel or operator name


def _costs(calls: Calls, steps: int) -> tuple[Cost, ...]:
    """The costs in an average step, the largest first."""
    totals = sorted((-sum(each), name, len(each)) for name, each in calls.items())
    return tuple(Cost(name, count / steps, -total / _NANOSECONDS / steps) for total, name, count in totals)


def _with_launches(timeline: Timeline) -> Iterator[tuple[Span, Span | None]]:
    """Each kernel with the call or else the operator that launched it; None where the trace has neither."""
    calls = {span.correlation: span for span in timeline.launches if span.correlation is not None}
    operators = {span.operator: span for span in (*timeline.ranges, *timeline.operators) if span.operator is not None}
    for kernel in timeline.kernels:
        call = None if kernel.correlation is None else calls.get(kernel.correlation)
        yield kernel, call or (None if kernel.operator is None else operators.get(kernel.operator))


def _windows(timeline: Timeline, phases: Sequence[str]) -> tuple[list[Span], list[Span]]:
    """The steps, and the phases within them, in order. Without ``phases``, the steps take their place."""
    taken = _outermost(span for span in timeline.ranges if span.name in (STEP, NOT_COUNTED))
    steps = [span for span in taken if span.name == STEP]
    if not phases:
        return steps, steps
    named = (span for span in timeline.ranges if span.name in phases)
    within = (span for span in named if (step := _window_at(steps, span.begin_nanoseconds)) and _holds(step, span))
    return steps, list(_outermost(within))


def _outermost(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans that no other span contains, in order. A step may contain its own ranges with the same names."""
    end: int | None = None
    for span in sorted(spans, key=_outer_first):
        if end is None or span.begin_nanoseconds >= end:
            end = span.end_nanoseconds
            yield span


def _self_times(spans: Iterable[Span]) -> Iterator[tuple[Span, int]]:
    """Each span with its self time, without the spans nested in it on the same thread."""
    threads: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        threads[span.place].append(span)
    for thread in threads.values():
        left = [span.nanoseconds for span in thread]
        order = sorted(range(len(thread)), key=lambda index: _outer_first(thread[index]))
        open_: list[int] = []
        for index in order:
            span = thread[index]
            while open_ and thread[open_[-1]].end_nanoseconds <= span.begin_nanoseconds:
                open_.pop()
            if open_:
                parent_end = thread[open_[-1]].end_nanoseconds
                left[open_[-1]] -= min(span.end_nanoseconds, parent_end) - span.begin_nanoseconds
            open_.append(index)
        yield from zip(thread, left, strict=True)


def _outer_first(span: Span) -> tuple[int, int]:
    return span.begin_nanoseconds, -span.end_nanoseconds


def _window_at(windows: Sequence[Span], nanoseconds: int) -> Span | None:
    """The window that contains this instant; ``windows`` are in order and do not overlap."""
    number = bisect_right(windows, nanoseconds, key=lambda window: window.begin_nanoseconds) - 1
    return windows[number] if number >= 0 and nanoseconds < windows[number].end_nanoseconds else None


def _holds(outer: Span, inner: Span) -> bool:
    return outer.place == inner.place and inner.end_nanoseconds <= outer.end_nanoseconds


def _sum(steps: Sequence[Span], windows: Sequence[Span], found: dict[str, Calls], unattributed: Calls) -> StepCosts:
    host: Counter[str] = Counter()
    for window in windows:
        host[window.name] += window.nanoseconds
    count = max(1, len(steps))
    phases = (PhaseCosts(n, host[n] / _NANOSECONDS / count, _costs(calls, count)) for n, calls in found.items())
    return StepCosts(len(steps), tuple(phases), _costs(unattributed, count))
