import subprocess
import sys
from pathlib import Path

import pytest

from loopmark.bench.measure import batch_attempt
from loopmark.bench.measure.batch_attempt import confine, forecast_bytes, safe_bytes


def test_nothing_is_forecast_from_nothing() -> None:
    assert forecast_bytes({}, 64) is None


def test_one_peak_alone_is_scaled_whole() -> None:
    assert forecast_bytes({64: 100}, 128) == 200
    assert forecast_bytes({64: 100}, 32) == 100  # at least the size seen


def test_two_peaks_make_a_line_that_knows_what_does_not_grow() -> None:
    peaks = {64: 400 + 64, 128: 400 + 128, 1: 900}

    assert forecast_bytes(peaks, 1024) == 400 + 1024


def test_memory_that_fell_is_not_forecast_to_fall_further() -> None:
    assert forecast_bytes({64: 500, 128: 400}, 256) == 400


def test_what_is_safe_is_less_than_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_attempt, "free_host_bytes", lambda: 1000)

    assert safe_bytes() == 800


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit another process")
def test_a_confined_process_cannot_allocate_more_and_is_the_first_to_be_ended() -> None:
    code = "input()\ntry:\n bytearray(2**30)\n print('took it')\nexcept MemoryError:\n print('refused')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        confine(process.pid, 2**28)
        first = Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip()
        said, _ = process.communicate("\n")

    assert said.strip() == "refused"
    assert first == "1000"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit another process")
@pytest.mark.parametrize("error", [ProcessLookupError(), PermissionError(), ValueError("above the hard limit")])
def test_a_limit_that_cannot_be_set_leaves_the_process_the_first_to_be_ended(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(resource, "prlimit", refuse)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, text=True) as process:
        confine(process.pid, 2**28)
        first = Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip()
        process.communicate("\n")

    assert first == "1000"
