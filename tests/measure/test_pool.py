"""A launch without an answer."""

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopmark.bench.measure import pool
from loopmark.bench.measure.pool import CaseEnded, WorkerProcess, manner_of_death


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


@pytest.mark.parametrize(("request_", "ticks"), [("warm", 2), ("take_turn", 0)])
def test_the_wait_for_an_answer_ticks_unless_a_block_is_timed(
    monkeypatch: pytest.MonkeyPatch, request_: str, ticks: int
) -> None:
    now, heard = [0.0], list[float]()

    def wait(objects: list[object], seconds: float) -> list[object]:
        now[0] += seconds
        return objects if now[0] > 2.5 else []

    monkeypatch.setattr(pool.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(pool.connection, "wait", wait)
    pipe = SimpleNamespace(send=lambda _: None, recv=lambda: "an answer", poll=lambda _: True)
    launcher: Any = SimpleNamespace(launch=lambda _: (SimpleNamespace(pid=1, sentinel=None), pipe))
    process = WorkerProcess(launcher, SimpleNamespace(log=None), lambda: heard.append(now[0]))  # type: ignore[arg-type]

    assert process.ask(request_, {}, 60.0, False) == "an answer"
    assert len(heard) == ticks


def test_a_long_last_word_keeps_both_ends(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(f"terminate called {'x' * 500} what(): no room")
    told = manner_of_death(7, tmp_path / "log.txt")
    assert "its log ends: terminate called xxx" in told
    assert told.endswith("xxx what(): no room")
    assert "x … x" in told


CRASH = f"""a warning
Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "{ctypes.__file__}", line 519 in string_at
  File "/home/me/mine.py", line 12 in step
  File "/home/me/other.py", line 3 in caller
"""


@pytest.mark.parametrize(
    ("code", "log", "told"),
    [
        (-11, CRASH, "/home/me/mine.py:12: the process was killed by SIGSEGV (signal 11)"),
        (-11, "", "the process was killed by SIGSEGV (signal 11)"),
        (7, "one\nlast words\n", "the process exited with code 7 before it answered; its log ends: last words"),
    ],
)
def test_a_death_is_told_with_its_place_or_its_last_words(code: int, log: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(log)
    assert manner_of_death(code, tmp_path / "log.txt") == told
