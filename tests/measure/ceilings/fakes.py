"""Operations of known duration, on a clock that only they move."""

from collections.abc import Callable
from dataclasses import dataclass, field

from loopmark.bench.measure.ceilings.sampling import HostStopwatch, Microbenchmark, Operation
from loopmark.bench.records.ceilings import Unit


@dataclass
class FakeClock:
    """A clock that only operations advance."""

    time_seconds: float = 0.0
    log: list[str] = field(default_factory=list)
    """The operations that advanced it, in order."""

    def now(self) -> float:
        return self.time_seconds

    def operation(self, name: str, seconds: Callable[[], float]) -> Operation:
        """An operation whose duration ``seconds`` returns each time."""

        def operate() -> None:
            self.time_seconds += seconds()
            self.log.append(name)

        return operate


def fake_target(
    clock: FakeClock,
    seconds: Callable[[int], float],
    *,
    name: str = "float32",
    sizes: tuple[int, ...] = (1, 2, 4),
    unit: Unit = "bytes per second",
    refuses: Callable[[int], Exception | None] = lambda _: None,
) -> Microbenchmark:
    """A benchmark whose operation of a size takes ``seconds(size)`` and counts its size as work."""

    def prepare(size: int) -> Operation:
        if error := refuses(size):
            raise error
        return clock.operation(f"{name} {size}", lambda: seconds(size))

    return Microbenchmark(
        kind="launch" if unit == "seconds" else "copy",
        dtype=name,
        sizes=sizes,
        work=(lambda _: 1.0) if unit == "seconds" else float,
        prepare=prepare,
        stopwatch=HostStopwatch(clock.now),
    )
