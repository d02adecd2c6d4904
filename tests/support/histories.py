"""Many runs that were never measured: the test gives their ratios to eager."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from loopmark.bench.judge.history import Observation, Point, Series, SeriesSubject, series_of
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.records import store
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from tests.support.synthetic import Truth, make_run

FIRST = datetime(2026, 11, 1, 10, 0, 0, tzinfo=UTC)
SUBJECT = SeriesSubject(
    "imaginary-2-core-f2a132", "cpu", "resnet", "small", 64, 77_000, "ab" * 32, 2, "eager", instructions="AVX2"
)


@cache
def _template() -> Run:
    return make_run([Truth("eager")], launches=1, rounds=1)[0]


def day(number: int) -> datetime:
    """The start of the run with this number."""
    return FIRST + timedelta(days=number)


def dated(run: Run, number: int, revision: str = "abc1234", torch: str = "2.13.0") -> Run:
    """``run`` as if made on this day, with this software."""
    started = day(number)
    environment = replace(run.environment, revision=revision, torch=torch)
    return replace(
        run, name=started.strftime("%Y%m%d-%H%M%S"), started=started.isoformat(), environment=environment
    )  # fmt: skip


def point(number: int, log_ratio: float, half: float = 0.01, revision: str = "abc1234") -> Point:
    """One loop in the run of that day, from five launches."""
    run = dated(_template(), number, revision)
    return Point(run, f"results/{run.name}", day(number), 5, Estimate(log_ratio, log_ratio - half, log_ratio + half))


def history_of(
    logs: Mapping[str, Sequence[float | None]], half: float = 0.01, subject: SeriesSubject = SUBJECT
) -> tuple[Series, ...]:
    """The series of loops with these log ratios, a run a day; None where a run lacks the loop."""
    return series_of(
        Observation(subject, loop, point(number, value, half))
        for loop, values in logs.items()
        for number, value in enumerate(values)
        if value is not None
    )


def keep(root: Path, run: Run, samples: Samples) -> Path:
    """Write a run where ``loopmark run`` would."""
    folder = store.create_folder(root, run.machine.name, run.started)
    store.write(folder, run, samples)
    return folder


def keep_runs(
    root: Path, steps: Sequence[float], *, loop: str = "amp_bf16", changed_at: int | None = None, rounds: int = 3
) -> list[Path]:
    """A run a day, with ``loop`` at these seconds a step and eager at 10 ms; the revision changes at ``changed_at``."""
    folders = []
    for number, seconds in enumerate(steps):
        truths = [Truth("eager"), Truth("eager", repeat=True), Truth(loop, seconds)]
        run, samples = make_run(truths, launches=3, rounds=rounds, steps=1, seed=number)
        revision = "def5678" if changed_at is not None and number >= changed_at else "abc1234"
        folders.append(keep(root, dated(run, number, revision), samples))
    return folders
