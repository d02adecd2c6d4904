"""A run with a part that fails or is interrupted; other files test the parts themselves."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loopmark.bench.measure import whole_run
from loopmark.bench.measure.machine import CommandFacts, describe_machine
from loopmark.bench.measure.plan import PlanOptions, make_plan, terms_within_a_run
from loopmark.bench.measure.pool import CaseEnded, worker_pool
from loopmark.bench.measure.whole_run import Stage, WholeRun, measure_all
from loopmark.bench.records.ceilings import CEILINGS_FILE, read_ceilings
from loopmark.bench.records.store import read_run
from tests.support import synthetic


class Told:
    """Records the progress messages: shares of the whole, and seconds left."""

    def __init__(self) -> None:
        self.done: list[float] = []
        self.doing: list[str] = []
        self.left: list[float | None] = []

    def tell(self, doing: str, done: float, remaining_seconds: float | None, *_: object) -> None:
        self.done.append(done)
        self.doing.append(doing)
        self.left.append(remaining_seconds)


def measured(folder: Path, *, training: bool = False, told: Told | None = None) -> WholeRun:
    plan = make_plan(
        PlanOptions(
            command=["loopmark", "run"], device="cpu", workloads=["regression"], loops=["foreach_optimizer"],
            budget_seconds=0.05, launches=1, threads=1,
        )
    )  # fmt: skip
    terms = terms_within_a_run(1, quick=True) if training else None

    folder.mkdir()
    with worker_pool(plan, folder) as pool:
        facts = CommandFacts(plan, describe_machine("cpu"), datetime.now(UTC))
        return measure_all(facts, terms, 1.0, pool, told or Told())


def ceilings_instead(monkeypatch: pytest.MonkeyPatch, outcome: BaseException | None) -> None:
    def measure(*_: Any) -> Any:
        if outcome is not None:
            raise outcome
        return synthetic.ceilings()

    monkeypatch.setattr(whole_run, "measure_ceilings", measure)


Whole = tuple[WholeRun, Told]


def whole(folder: Path, *, training: bool) -> Whole:
    with pytest.MonkeyPatch.context() as monkeypatch:
        ceilings_instead(monkeypatch, None)
        told = Told()
        return measured(folder / "run", training=training, told=told), told


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole(tmp_path_factory.mktemp("trained"), training=True)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole(tmp_path_factory.mktemp("untrained"), training=False)


def test_the_device_is_measured_after_the_loops_and_kept_beside_them(trained: Whole) -> None:
    found, _ = trained
    assert found.ceilings == read_ceilings(found.folder / CEILINGS_FILE) == synthetic.ceilings()
    assert found.trained is not None
    assert not found.interrupted
    assert found.statuses == {"ok"}


def test_a_device_that_cannot_be_measured_is_a_warning_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings_instead(monkeypatch, CaseEnded("failed", "the process was killed"))
    found = measured(tmp_path / "run", training=True)
    assert found.ceilings is None
    assert found.trained is not None
    assert (
        found.run.warnings[-1] == "what the device can do is not known: the process was killed; try loopmark ceilings"
    )
    assert read_run(tmp_path / "run").warnings == found.run.warnings


def test_interrupted_after_the_loops_what_was_timed_is_there_and_nothing_more_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings_instead(monkeypatch, KeyboardInterrupt())
    found = measured(tmp_path / "run", training=True)
    assert found.interrupted
    assert found.trained is found.ceilings is None
    assert all(case.launches for case in found.run.cases)
    assert read_run(tmp_path / "run").warnings[-1] == (
        "interrupted after the timing, without what the device can do and how the loops train; "
        "run its command again for that"
    )


def test_without_terms_nothing_is_trained(untrained: Whole) -> None:
    assert untrained[0].trained is None


@pytest.mark.parametrize("training", [True, False])
def test_one_bar_tells_of_the_whole_and_never_goes_back(trained: Whole, untrained: Whole, training: bool) -> None:
    told = (trained if training else untrained)[1]
    assert told.done == sorted(told.done)
    assert told.done[-1] <= 1
    if training:  # timing has left room for it
        assert told.done[-1] > max(done for done, doing in zip(told.done, told.doing, strict=True) if "round" in doing)


def test_what_is_left_counts_the_parts_that_come_after() -> None:
    told = Told()
    Stage(told, 0.5, 0.25, later=lambda own: 2 * own, started=time.perf_counter() - 30).tell("this", 0.4, 10.0)
    Stage(told, 0.5, 0.25).tell("this", 0.4, None)
    assert told.done == pytest.approx([0.6, 0.6])
    assert told.left == [pytest.approx(10 + 2 * 40, abs=1), None]
