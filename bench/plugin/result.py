"""What ``loop_benchmark`` returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from loopmark.bench.judge.comparison import Verdict
from loopmark.bench.judge.finding import Finding
from loopmark.bench.judge.statistics import Estimate


@dataclass(frozen=True)
class LoopResult:
    """A measured loop. Where benchmarks are disabled it was only tried, and has no figure: ``measured`` is False."""

    workload: str
    loop: str
    step_seconds: Estimate | None = None
    """Seconds of a training step, with the 95 % interval over launches."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each phase of a typical step; on a GPU, on the device's own clock."""
    ratio: Estimate | None = None
    """The loop's step over eager's, 1.02 for 2 % longer, with its 95 % interval; None for eager itself."""
    against: Finding | None = None
    """What holding it against the loop ``against`` came to; None where none was given."""

    @property
    def measured(self) -> bool:
        """Whether there are figures."""
        return self.step_seconds is not None

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the loop, held against ``against``: slower, faster, same or inconclusive."""
        return self.against.verdict if self.against else None
