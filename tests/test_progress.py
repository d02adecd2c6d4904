"""The progress line, with and without a reader."""

import io
import os
import sys

import pytest
from rich.console import Console

from loopmark.bench import progress
from loopmark.bench.progress import RunProgress, StderrConsole, clock


class Shown:
    """A progress on a clock that stands still, and its lines."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, terminal: bool, width: int = 80) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.seconds)
        self._output = io.StringIO()
        self.progress = RunProgress(
            Console(file=self._output, width=width, force_terminal=terminal, color_system=None, legacy_windows=False)
        )

    def tick(self, seconds: float) -> str:
        """The last line, this many seconds later."""
        self.seconds += seconds
        self.progress.tick()
        return self.last()

    def last(self) -> str:
        return self._output.getvalue().replace("\r", "\n").splitlines()[-1].removeprefix("\x1b[2K").strip()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown(monkeypatch, terminal=False)


def test_a_run_goes_on_when_nobody_reads_its_progress_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0.0)
        console = StderrConsole()
        with RunProgress(console) as shown:
            for done in (0.1, 0.2, 0.3):
                shown.tell("launch pair", done, 1.0)
        assert console.quiet


def test_a_long_part_says_how_long_it_has_taken_of_what_is_expected(log: Shown) -> None:
    log.progress.tell("launch 1/5 · gpt · compile · compiling", 0.1, 120.0, 40.0)
    assert log.last() == "0%  0:00 of ~2:00  compiling, about 40 s · compile · gpt · launch 1/5"
    assert log.tick(32) == "27%  0:32 of ~2:00  compiling, 32 s of about 40 · compile · gpt · launch 1/5"
    assert log.tick(13) == "38%  0:45 of ~2:00  compiling, 45 s instead of 40 · compile · gpt · launch 1/5"


def test_without_a_forecast_the_time_spent_and_the_share_done_are_told(log: Shown) -> None:
    log.progress.tell("eager · batch size 64", 0.5, None)
    assert log.last() == "50%  0:00  batch size 64 · eager"
    assert log.tick(75) == "50%  1:15  batch size 64, 75 s · eager"


def test_the_end_stands_still_until_the_forecast_is_off_by_a_tenth_of_the_whole(log: Shown) -> None:
    log.progress.tell("round 1", 0.0, 100.0)
    log.seconds = 20.0
    log.progress.tell("round 2", 0.2, 88.0)
    assert log.last() == "20%  0:20 of ~1:40  round 2"
    log.seconds = 40.0
    log.progress.tell("round 3", 0.4, 110.0)
    assert log.last() == "27%  0:40 of ~2:30  round 3"


def test_a_part_far_beyond_its_time_delays_the_whole(log: Shown) -> None:
    log.progress.tell("compile · compiling", 0.0, 60.0, 20.0)
    assert log.tick(25).startswith("42%  0:25 of ~1:00  compiling, 25 s instead of 20")
    assert log.tick(15).startswith("50%  0:40, 20 s over  compiling, 40 s instead of 20")


def test_a_forecast_that_is_exceeded_says_by_how_much(log: Shown) -> None:
    log.progress.tell("round 1", 0.0, 10.0)
    assert log.tick(22) == "99%  0:22, 12 s over  round 1, 22 s"


def test_a_log_has_a_line_every_ten_seconds_and_nothing_of_short_work(log: Shown) -> None:
    log.progress.hint("reading", 0.5)
    log.progress.tick()
    log.progress.tell("round 1", 0.0, None)
    assert [log.tick(seconds).rpartition(" ")[0] for seconds in (9, 1, 9)] == [
        "0%  0:00  round", "0%  0:10  round 1, 10", "0%  0:10  round 1, 10"
    ]  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_one_line_whose_bar_stands_still(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    shown = Shown(monkeypatch, terminal=True, width=width)
    with shown.progress:
        lines = []
        for doing in ("launch 1/5 · gpt · eager · starting", "launch 1/5 · gpt · fused_optimizer+compile · compiling"):
            shown.progress.tell(doing, 0.1, 1000.0, 40.0)
            lines.append(shown.tick(9))
    first, second = lines
    assert max(map(len, lines)) <= width
    assert first.index("starting") == second.index("compiling") < 40
    assert first.endswith(("starting, 9 s of about 40 · eager · gpt", "launch 1/5"))
    assert "compiling, 9 s of about 40 · fused_optimi" in second
    assert ("launch 1/5" in second) == (width == 120)


def test_hours_leave_the_line_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch, terminal=True)
    with shown.progress:
        shown.progress.tell("+1 % · comparison 3 of 140", 0.1, 36000.0, 9000.0)
        line = shown.tick(7200)
    assert line.endswith("2:00:00 of ~10:00:00 comparison 3 of 140, 7200 s of about 9000…")
    assert len(line) <= 80


def test_times_are_minutes_and_seconds_with_hours_where_there_are_any() -> None:
    assert [clock(seconds) for seconds in (0.4, 190, 3790)] == ["0:00", "3:10", "1:03:10"]


def test_nothing_that_is_still_being_done_is_said_to_be_done(log: Shown) -> None:
    log.progress.tell("training", 1.0, None)
    assert log.last() == "99%  0:00  training"


@pytest.mark.parametrize("terminal", [True, False])
def test_work_beside_measuring_is_named_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
    with StderrConsole().waiting("drawing the report"):
        pass
    assert ("drawing the report" in output.getvalue()) == terminal
