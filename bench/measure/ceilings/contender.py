"""One size of one target, and the samples that it takes."""

from dataclasses import dataclass, field
from statistics import median

from loopmark.bench.measure.ceilings.stopwatch import Operation
from loopmark.bench.measure.ceilings.target import Target
from loopmark.bench.measure.disturbance import Disturbance, DisturbanceMeter
from loopmark.bench.median import LEAST_SAMPLES, median_interval

TRIALS = 5


@dataclass
class Contender:
    """One size of one target, ready to take samples."""

    target: Target
    size: int
    operation: Operation
    operation_seconds: float = 0.0
    """As it was tried."""
    repeats: int = 1
    """Operations in a sample."""
    values: list[float] = field(default_factory=list)
    """Of its samples, in the target's unit."""
    disturbances: list[Disturbance] = field(default_factory=list)
    """One a sample, where somebody looks."""
    sampled_seconds: float = 0.0
    beaten: bool = False
    """Whether another size is clearly better. What it reached until then is not up for being the best: what drifts may
    have been kinder to its samples than to the later ones."""
    failure: str | None = None
    """What ended it before its time."""

    @property
    def cost_seconds(self) -> float:
        """What a sample takes, roughly."""
        return self.repeats * self.operation_seconds

    @property
    def promise(self) -> float:
        """How well it did when it was tried; more is better."""
        return self.target.merit(self.target.value(self.size, self.operation_seconds))

    @property
    def merit(self) -> float:
        """How well it did over its samples; more is better, and nothing counts before there are enough."""
        return self.target.merit(median(self.values)) if len(self.values) >= LEAST_SAMPLES else 0.0

    def forecast_seconds(self, size: int) -> float:
        """What an operation of another size would take at this one's rate."""
        return self.operation_seconds * self.target.work(size) / self.target.work(self.size)

    def is_beaten_by(self, other: "Contender") -> bool:
        """Whether the intervals of both medians are apart, this one's on the worse side; not before both have one."""
        if min(len(self.values), len(other.values)) < LEAST_SAMPLES:
            return False
        (_, *own), (_, *others) = median_interval(self.values), median_interval(other.values)
        return max(map(self.target.merit, own)) < min(map(self.target.merit, others))

    def try_out(self, sample_seconds: float, longest_seconds: float) -> None:
        """Learn what an operation takes, and how many of them make a sample of ``sample_seconds``.

        The first one may touch memory or choose a kernel, and does not count, unless nothing of that kind explains it.
        """
        self.operation_seconds = self.seconds()
        if self.operation_seconds > 2 * longest_seconds:
            return
        self.operation_seconds = min(self.seconds() for _ in range(2))
        if self.operation_seconds > TRIALS * sample_seconds:
            return
        # One tiny operation is not told from the clock's own reading; of several trials one is left undisturbed.
        self.repeats = self._repeats(sample_seconds / TRIALS)
        self.operation_seconds = min(self.seconds() for _ in range(TRIALS)) / self.repeats
        self.repeats = self._repeats(sample_seconds)

    def value_held(self, sample_seconds: float, samples: int) -> float:
        """In the target's unit, over the last of some long samples that follow one another."""
        self.repeats = self._repeats(sample_seconds)
        return [self.target.value(self.size, self.seconds() / self.repeats) for _ in range(samples)][-1]

    def _repeats(self, seconds: float) -> int:
        return max(1, round(seconds / self.operation_seconds))

    def seconds(self) -> float:
        """What a sample took that is not kept."""
        with self.target.context():
            seconds = self.target.stopwatch.seconds(self.operation, self.repeats)
        if not seconds > 0:
            raise RuntimeError(f"{self.repeats} operations took no time on the clock")
        return seconds

    def add_sample(self, meter: DisturbanceMeter | None) -> None:
        """Take a sample and keep it, with what disturbed it."""
        if meter:
            meter.begin()
        seconds = self.seconds()
        if meter:
            self.disturbances.append(meter.end(own_processes=1))
        self.sampled_seconds += seconds
        self.values.append(self.target.value(self.size, seconds / self.repeats))
