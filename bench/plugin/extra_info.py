"""The data of a measured loop in ``extra_info`` of pytest-benchmark's files, by which later runs are judged."""

from dataclasses import dataclass
from typing import Any

from loopmark.bench.judge.comparison import ratio_logs, rounds_of, step_logs
from loopmark.bench.plugin.measurement import Measurement
from loopmark.bench.records import PYTEST_BENCHMARK_KEY
from loopmark.bench.records.files import Mismatch, decode

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ExtraInfo:
    """One loop, launch by launch. Claims are about launches, which the table's rounds do not distinguish."""

    workload: str
    loop: str
    device: str
    size: str
    batch_size: int | None
    parameters: int | None
    threads: int
    machine: str  # the machine's name; its fingerprint at the end decides if seconds can be compared
    torch: str | None
    step_logs: tuple[float, ...]  # ln(seconds per step), one per launch
    ratio_logs: tuple[float, ...]  # ln(step / the baseline's), paired by round, one per launch; none for the baseline
    noise_floor: float | None  # largest difference of the baseline and its repetition, as a share; None: not measured
    phases: dict[str, float]  # seconds of each phase of a typical step; their sum is the step
    lost_at_step: int | None = None  # first step whose loss was NaN or infinite; no speed is claimed for such a loop
    eager_lost_at_step: int | None = None  # the same for the baseline of its run, whichever loop that is
    data_sha256: str | None = None
    rounds_per_launch: tuple[int, ...] = ()  # of the row's rounds, in order; `import` separates launches by it
    format_version: int = FORMAT_VERSION
    baseline: str = "eager"  # the loop that the ratios are to

    @classmethod
    def of(cls, measured: Measurement, loop: str) -> "ExtraInfo":
        """The data to store for ``loop``."""
        row, run = measured.rows[loop], measured.run
        rounds, baseline = rounds_of(measured.blocks(loop)), run.plan.baseline
        ratios = () if loop == baseline else ratio_logs(rounds, rounds_of(measured.blocks(baseline)))
        return cls(
            workload=row.case.workload,
            loop=loop,
            device=run.plan.device.partition(":")[0],
            size=run.plan.size,
            batch_size=row.case.batch_size,
            parameters=row.case.parameters,
            threads=run.plan.threads,
            machine=run.machine.name,
            torch=run.environment.torch,
            step_logs=tuple(map(float, step_logs(rounds))),
            ratio_logs=tuple(map(float, ratios)),
            noise_floor=measured.noise_floor,
            phases=row.phases,
            lost_at_step=row.lost_at_step,
            eager_lost_at_step=measured.rows[baseline].lost_at_step,
            data_sha256=row.case.data_sha256,
            rounds_per_launch=measured.rounds_per_launch(loop, lapped=False),
            baseline=baseline,
        )


def read_extra_info(benchmark: dict[str, Any]) -> ExtraInfo | str | None:
    """The loop's data in a stored benchmark, or the reason if unreadable; None if Loopmark did not write it."""
    extra = benchmark.get("extra_info")
    if not isinstance(extra, dict) or PYTEST_BENCHMARK_KEY not in extra:
        return None
    try:
        kept = decode(ExtraInfo, extra[PYTEST_BENCHMARK_KEY], f"extra_info.{PYTEST_BENCHMARK_KEY}")
    except Mismatch as error:
        return str(error)
    if kept.format_version > FORMAT_VERSION:
        return f"it has format {kept.format_version}; this Loopmark reads formats up to {FORMAT_VERSION}"
    return kept
