"""What each phase cost: every kernel to the phase that launched it, every operator to the phase in which it began.

Nothing here knows a profiler or a device: timelines are plain records, and a test can write one down.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from loopmark.bench.measure.tracing.timeline import Span, Timeline
from loopmark.bench.records.trace import OUTSIDE, Cost, PhaseCosts

STEP = "step"
"""The range around each step that counts."""
NOT_COUNTED = "first step, not counted"
"""The range around the first step that is recorded: in it the profiler itself gets going."""
_NANOSECONDS = 1e9


@dataclass(frozen=True)
class Costs:
    """What a timeline comes to, in an average step."""

    steps: int
    phases: tuple[PhaseCosts, ...]
    unattributed: tuple[Cost, ...] = ()


def kernel_costs(timeline: Timeline, phases: Sequence[str]) -> Costs:
    """The kernels of each phase, by their time on the device.

    A kernel belongs to the phase in whose time it was launched, from whatever thread: backward's are launched by
    autograd's own. When it ran does not matter, since it may run long after the host has gone on to another phase.

    Args:
        phases: the names of the ranges to look for within each step; none where the host sees no phase of it.
    """
    steps, windows = _windows(timeline, phases)
    launched = _launches(timeline)
    found: dict[str, _Tally] = {window.name: _Tally() for window in windows}
    unattributed = _Tally()
    for kernel in timeline.kernels:
        launch = launched.of(kernel)
        window = None if launch is None else _window_at(windows, launch.begin_nanoseconds)
        if window:
            found[window.name].add(kernel.name, kernel.nanoseconds)
        elif launch is None or _window_at(steps, launch.begin_nanoseconds):
            unattributed.add(kernel.name, kernel.nanoseconds)
    return _costs(steps, windows, found, unattributed)


def operator_costs(timeline: Timeline, phases: Sequence[str]) -> Costs:
    """The operators of each phase by self time: what they took, less what others took within them on their thread.

    A phase's own thread spends time in no operator as well, which is counted under ``OUTSIDE``.

    Args:
        phases: as of ``kernel_costs``.
    """
    steps, windows = _windows(timeline, phases)
    found: dict[str, _Tally] = {window.name: _Tally() for window in windows}
    ours = set(windows)
    for span, nanoseconds in _self_times((*timeline.ranges, *timeline.operators)):
        window = _window_at(windows, span.begin_nanoseconds)
        # What is around a phase, as the step's own range is, may begin in the same instant.
        if window and (span.place != window.place or _holds(window, span)):
            found[window.name].add(OUTSIDE if span in ours else span.name, nanoseconds)
    return _costs(steps, windows, found, _Tally())


class _Tally:
    """Calls and time, by name."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._nanoseconds: Counter[str] = Counter()

    def add(self, name: str, nanoseconds: int) -> None:
        """One more call."""
        self._calls[name] += 1
        self._nanoseconds[name] += nanoseconds

    def costs(self, steps: int) -> tuple[Cost, ...]:
        """All of it in an average step, the dearest first."""
        return tuple(
            Cost(name, self._calls[name] / steps, nanoseconds / _NANOSECONDS / steps)
            for name, nanoseconds in sorted(self._nanoseconds.items(), key=lambda item: (-item[1], item[0]))
        )


class _Launches:
    """The host's side of every kernel."""

    def __init__(self, by_correlation: dict[int, Span], by_operator: dict[int, Span]) -> None:
        self._by_correlation, self._by_operator = by_correlation, by_operator

    def of(self, kernel: Span) -> Span | None:
        """The call that launched it, or else the operator that did; None where the trace has neither."""
        found = None if kernel.correlation is None else self._by_correlation.get(kernel.correlation)
        if found is None and kernel.operator is not None:
            found = self._by_operator.get(kernel.operator)
        return found


def _launches(timeline: Timeline) -> _Launches:
    return _Launches(
        {span.correlation: span for span in timeline.launches if span.correlation is not None},
        {span.operator: span for span in (*timeline.ranges, *timeline.operators) if span.operator is not None},
    )


def _windows(timeline: Timeline, phases: Sequence[str]) -> tuple[list[Span], list[Span]]:
    """The steps, and the phases within them or, where none are looked for, the steps themselves; each in order."""
    taken = _outermost(span for span in timeline.ranges if span.name in (STEP, NOT_COUNTED))
    steps = [span for span in taken if span.name == STEP]
    if not phases:
        return steps, steps
    named = (span for span in timeline.ranges if span.name in phases)
    within = (span for span in named if (step := _window_at(steps, span.begin_nanoseconds)) and _holds(step, span))
    return steps, list(_outermost(within))


def _outermost(spans: Iterable[Span]) -> Iterator[Span]:
    """Those that lie in no other, in order: a step may hold ranges of its own, and call them as it likes."""
    end: int | None = None
    for span in sorted(spans, key=_outer_first):
        if end is None or span.begin_nanoseconds >= end:
            end = span.end_nanoseconds
            yield span


def _self_times(spans: Iterable[Span]) -> Iterator[tuple[Span, int]]:
    """Each span with what it took itself, without those that ran within it on its own thread."""
    threads: dict[str, list[Span]] = {}
    for span in spans:
        threads.setdefault(span.place, []).append(span)
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
    """The one of ``windows``, in order and apart, that holds this instant."""
    number = bisect_right(windows, nanoseconds, key=lambda window: window.begin_nanoseconds) - 1
    return windows[number] if number >= 0 and nanoseconds < windows[number].end_nanoseconds else None


def _holds(outer: Span, inner: Span) -> bool:
    return outer.place == inner.place and inner.end_nanoseconds <= outer.end_nanoseconds


def _costs(steps: Sequence[Span], windows: Sequence[Span], found: dict[str, _Tally], unattributed: _Tally) -> Costs:
    host: Counter[str] = Counter()
    for window in windows:
        host[window.name] += window.nanoseconds
    count = max(1, len(steps))
    phases = (PhaseCosts(name, host[name] / _NANOSECONDS / count, tally.costs(count)) for name, tally in found.items())
    return Costs(len(steps), tuple(phases), unattributed.costs(count))
