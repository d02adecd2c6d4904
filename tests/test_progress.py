"""The line that a person watches, and nobody may be watching."""

import os
import sys

import pytest

from bench import progress
from bench.progress import RunProgress, stderr_console


def test_a_run_goes_on_when_nobody_reads_its_progress_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0.0)
        console = stderr_console()
        with RunProgress(console) as shown:
            for done in (0.1, 0.2, 0.3):
                shown.tell("launch pair", done, 1.0)
        assert console.quiet
