"""A worker's requests, and the rows that a step trains on, for any kind of batches."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from loopmark.bench.measure import worker
from loopmark.bench.measure.answers import Failed, Places, Rows
from loopmark.bench.measure.worker import REQUESTS, Worker, _answer
from loopmark.loops.task import Batches
from tests.support.tiny import make_tiny_task

INPUTS, TARGETS = torch.zeros(100, 3), torch.zeros(100)
DATA = TensorDataset(INPUTS, TARGETS)


def rows_of(batches: Any) -> Rows:
    task = make_tiny_task()
    task.batches = batches
    return Worker.rows(SimpleNamespace(_task=task))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batches", "rows"),
    [
        (Batches(INPUTS, TARGETS, batch_size=64, seed=0), Rows(64, 100, 64.0)),
        (DataLoader(DATA, batch_size=64), Rows(64, 100, 50.0)),  # and one of 36
        (DataLoader(DATA, batch_size=64, drop_last=True), Rows(64, 100, 64.0)),
        (DataLoader(DATA, batch_size=400), Rows(100, 100, 100.0)),
        ([(INPUTS, TARGETS)], Rows(100, None, 100.0)),
    ],
)
def test_the_rows_of_a_step_are_those_that_it_has_on_average(batches: Any, rows: Rows) -> None:
    assert rows_of(batches) == rows


def test_a_worker_answers_requests_and_nothing_else() -> None:
    asked = SimpleNamespace(_places=Places(), _makes_task=False, _neighbours=0)

    assert {"set_up", "warm", "take_turn", "finish"} < set(REQUESTS)
    for name in ("_make_task", "__init__", "no_such_request"):
        answer = _answer(asked, name, {})  # type: ignore[arg-type]
        assert isinstance(answer, Failed)
        assert name in answer.reason


def test_a_loop_is_verified_on_its_own_device_whatever_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", chosen.append)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(worker, "Examination", lambda _: SimpleNamespace(check=lambda *_: None))
    Worker(SimpleNamespace(device="xpu:1", threads=1, neighbours=0)).verify(name="runs", seconds=1.0)  # type: ignore[arg-type]

    assert chosen == [1]
