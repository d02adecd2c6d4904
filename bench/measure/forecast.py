"""How long still: from what the launches so far have cost."""

from dataclasses import dataclass, field
from statistics import fmean


@dataclass
class Forecast:
    """The remaining time of a run of ``launches`` launches of each of ``workloads``.

    A first launch compiles from nothing and later ones do not, so the two are kept apart.
    """

    workloads: tuple[str, ...]
    launches: int
    sampling_seconds: dict[str, float]
    """Of one launch of each workload."""
    _first: dict[str, float] = field(default_factory=dict)
    _later: dict[str, float] = field(default_factory=dict)

    def started(self, workload: str, launch: int, overhead_seconds: float, compile_seconds: float) -> None:
        """A launch of ``workload`` got all its processes warm in ``overhead_seconds``."""
        if launch == 0:
            self._first[workload] = overhead_seconds
            self._later[workload] = max(0.0, overhead_seconds - compile_seconds)
        else:
            self._later[workload] = overhead_seconds

    def remaining_seconds(self, workload: str, launch: int, sampled_seconds: float | None) -> float | None:
        """From within a launch: ``sampled_seconds`` into its sampling, or None while its processes get warm."""
        if not self._first:
            return None
        total = 0.0
        here = launch * len(self.workloads) + self.workloads.index(workload)
        for position in range(here, self.launches * len(self.workloads)):
            round_, place = divmod(position, len(self.workloads))
            name = self.workloads[place]
            seen = self._first if round_ == 0 else self._later
            overhead = seen.get(name, fmean(seen.values()))
            if position == here and sampled_seconds is not None:
                total += max(0.0, self.sampling_seconds[name] - sampled_seconds)
            else:
                total += overhead + self.sampling_seconds[name]
        return total
