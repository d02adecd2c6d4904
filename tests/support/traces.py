"""Profiles that were never taken, for tests of keeping and showing them."""

from loopmark.bench.records.trace import OUTSIDE, Cost, Counted, PhaseCosts, Profile, Trace


def costs(count: int, seconds: float = 1e-3) -> tuple[Cost, ...]:
    """``count`` operators, each cheaper than the one before."""
    return tuple(Cost(f"aten::op{n}", 2.0, seconds / (n + 1)) for n in range(count))


def profile(
    *phases: PhaseCosts,
    counted: Counted = "operators",
    graphed: bool = False,
    unattributed: tuple[Cost, ...] = (),
    profiled: float = 0.012,
) -> Profile:
    """Three steps, which took 10 ms each before the profiler began."""
    default = (
        PhaseCosts("forward", 0.004, (Cost("aten::mm", 9.0, 0.003), Cost(OUTSIDE, 1.0, 0.001))),
        PhaseCosts("backward", 0.006, (Cost("aten::mm", 18.0, 0.006),)),
    )
    return Profile(3, counted, graphed, 0.010, profiled, phases or default, unattributed)


def trace(found: Profile | None = None, loop: str = "amp_bf16+compile") -> Trace:
    """A successful trace."""
    return Trace("resnet", loop, "cpu", "ok", None, found or profile())
