"""A launch without an answer."""

from types import SimpleNamespace
from typing import Any

import pytest

from loopmark.bench.measure import pool
from loopmark.bench.measure.pool import CaseEnded, WorkerProcess


def test_an_answer_that_cannot_be_read_ends_its_case_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def recv() -> None:
        raise ModuleNotFoundError("No module named 'own_loop'")

    killed: list[bool] = []
    process: Any = WorkerProcess.__new__(WorkerProcess)
    process._busy, process._pipe = False, SimpleNamespace(send=lambda _: None, recv=recv, poll=lambda _: True)
    process._process = SimpleNamespace(sentinel=None)
    monkeypatch.setattr(WorkerProcess, "kill", lambda _: killed.append(True))
    monkeypatch.setattr(pool.connection, "wait", lambda *_: [process._pipe])

    with pytest.raises(CaseEnded, match="cannot be read: No module named 'own_loop'") as end:
        process.within(1.0).warm(ceiling_seconds=1.0)
    assert end.value.status == "failed"
    assert killed
    assert not process.settle(1.0)
