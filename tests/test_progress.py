"""The progress line, with and without a reader."""

import io
import os
import sys

import pytest
from rich.console import Console

from loopmark.bench import progress
from loopmark.bench.progress import RunProgress, StderrConsole


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


@pytest.mark.parametrize(
    ("remaining", "told"), [(None, ""), (0.0, ""), (0.6, ""), (1.0, "  1 s left"), (75, "  1 min 15 s left")]
)
def test_a_forecast_of_no_time_at_all_is_not_told(remaining: float | None, told: str) -> None:
    output = io.StringIO()
    with RunProgress(Console(file=output, width=80)) as shown:
        shown.tell("training", 0.5, remaining)
    assert output.getvalue() == f" 50%  training{told}\n"


def test_nothing_that_is_still_being_done_is_said_to_be_done() -> None:
    output = io.StringIO()
    with RunProgress(Console(file=output, width=80)) as shown:
        shown.tell("training", 1.0, None)
    assert output.getvalue() == " 99%  training\n"
