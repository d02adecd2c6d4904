from pathlib import Path

import pytest

from loopmark.bench.measure.doctor.company import load, steal
from tests.support.hosts import CPU, VIRTUAL, host


@pytest.mark.parametrize(
    ("mean", "waited", "state"),
    [
        ("0.00", "0.00", "good"),
        ("0.20", None, "good"),
        ("0.90", "0.00", "could be better"),
        ("0.10", "2.50", "could be better"),
        ("0.10", "12.00", "bad"),
        ("2.50", None, "bad"),
        ("nonsense", "12.00", "not known"),
    ],
)
def test_load_is_judged_by_who_runs_and_who_waits(tmp_path: Path, mean: str, waited: str | None, state: str) -> None:
    files = {"proc/loadavg": f"{mean} 9.00 9.00 9/99 999\n", f"{CPU}/online": "0-1"}
    if waited is not None:
        files["proc/pressure/cpu"] = f"some avg10={waited} avg60=99.00 avg300=99.00 total=1\nfull avg10=99.00 avg60=0\n"
    found = load(host(tmp_path, files))
    assert found.state == state
    if waited is not None and state != "not known":
        assert f"in {float(waited):g} % of the last 10 s one had to wait" in found.reading


def test_a_kernel_without_load_tells_nothing(tmp_path: Path) -> None:
    assert load(host(tmp_path)).state == "not known"


def stat(stolen: int) -> dict[str, str]:
    return {
        "proc/stat": "cpu  1 2 3 4 5 6 7 8 0 0\n"
        f"cpu0 500 0 500 99999 99999 0 0 {stolen} 9999 9999\n"
        f"cpu1 1000 0 0 99999 0 0 0 {stolen} 0 0\n"
        "cpu2 0 0 0 0 0 0 0 99999 0 0\nintr 5 6 7\n"
    }


@pytest.mark.parametrize(
    ("stolen", "state", "says"),
    [(0, "good", "0.00 %"), (5, "could be better", "0.50 %"), (250, "bad", "20.00 %")],
)
def test_stolen_time_is_a_share_of_the_time_with_work_on_the_cores_used(
    tmp_path: Path, stolen: int, state: str, says: str
) -> None:
    found = steal(host(tmp_path, stat(stolen)))
    assert found.state == state
    assert found.reading.startswith(says)


def test_no_stolen_time_proves_nothing_in_a_virtual_machine(tmp_path: Path) -> None:
    assert "not every hypervisor tells" in steal(host(tmp_path, stat(0) | VIRTUAL)).reading


@pytest.mark.parametrize("text", ["", "cpu0 1 2 3\n", "cpu7 1 2 3 4 5 6 7 8 9 10\n", "cpu0 0 0 0 5 5 0 0 0 0 0\n"])
def test_stolen_time_that_is_not_counted_is_not_known(tmp_path: Path, text: str) -> None:
    assert steal(host(tmp_path, {"proc/stat": text})).state == "not known"
