from pathlib import Path

import pytest

from loopmark.bench.measure.doctor.cores import allowed_cores, isolated_cores, quota, siblings
from tests.support.hosts import CPU, REAL, VIRTUAL, host


def topology(*groups: str) -> dict[str, str]:
    return {f"{CPU}/cpu{core}/topology/thread_siblings_list": group for core, group in enumerate(groups)}


def limited(quota: str, throttled: int = 0) -> dict[str, str]:
    return {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": quota,
        "sys/fs/cgroup/cpu.stat": f"nr_throttled {throttled}\n",
    }


def test_two_hardware_threads_of_one_core_could_be_better_and_the_number_of_cores_is_told(tmp_path: Path) -> None:
    found = siblings(host(tmp_path, topology("0,2", "1", "0,2"), cores=(0, 1, 2)))
    assert found.state == "could be better"
    assert found.reading == "cores 0-2 are hardware threads of 2 cores"
    assert found.commands == ("loopmark run --threads 2",)


def test_siblings_that_are_left_idle_are_named(tmp_path: Path) -> None:
    found = siblings(host(tmp_path, topology("0,2", "1,3")))
    assert found.state == "good"
    assert "cores 2-3" in found.reading


def test_whole_cores_are_good_on_real_hardware_and_not_known_on_virtual(tmp_path: Path) -> None:
    assert siblings(host(tmp_path, topology("0", "1") | REAL)).state == "good"
    assert siblings(host(tmp_path, topology("0", "1") | VIRTUAL)).state == "not known"


@pytest.mark.parametrize("files", [{}, topology("0")])
def test_siblings_that_are_not_shown_for_every_core_are_not_known(tmp_path: Path, files: dict[str, str]) -> None:
    assert siblings(host(tmp_path, files)).state == "not known"


@pytest.mark.parametrize(
    ("files", "state", "says"),
    [
        (limited("max 100000"), "good", "none"),
        (limited("200000 100000"), "good", "2 cores for 2 threads"),
        (limited("200000 100000", throttled=3), "could be better", "was spent in 3 periods so far"),
        (limited("150000 100000"), "bad", "1.5 cores for 2 threads"),
        ({}, "not known", "no control group"),
    ],
)
def test_a_quota_is_held_against_the_threads(tmp_path: Path, files: dict[str, str], state: str, says: str) -> None:
    found = quota(host(tmp_path, files))
    assert found.state == state
    assert says in found.reading
    assert bool(found.commands) == (state in ("bad", "could be better"))


def test_cores_outside_of_those_allowed_are_bad_and_the_others_are_told(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpuset.cpus.effective": "1-3\n", f"{CPU}/online": "0-7\n"}
    found = allowed_cores(host(tmp_path, files))
    assert found.state == "bad"
    assert found.reading == "cores 0-1 used, of 3 allowed and 8 of the machine; core 0 outside of it"
    assert found.commands == ("taskset --cpu-list 1-3 loopmark run",)


def test_cores_that_are_allowed_are_good_and_without_a_control_group_it_is_not_known(tmp_path: Path) -> None:
    assert allowed_cores(host(tmp_path)).state == "not known"
    files = {"proc/self/cgroup": "2:cpuset:/\n", "sys/fs/cgroup/cpuset/cpuset.cpus": "0-3\n"}
    assert allowed_cores(host(tmp_path, files)).state == "good"


@pytest.mark.parametrize(
    ("isolated", "cores", "state"),
    [("\n", (0, 1), "good"), ("4-7", (0, 1), "good"), ("1-7", (1,), "good"), ("1-7", (0, 1), "bad")],
)
def test_isolated_cores_are_bad_for_more_than_one_thread(
    tmp_path: Path, isolated: str, cores: tuple[int, ...], state: str
) -> None:
    assert isolated_cores(host(tmp_path, {f"{CPU}/isolated": isolated}, cores=cores)).state == state


def test_isolated_cores_that_are_not_shown_are_not_known(tmp_path: Path) -> None:
    assert isolated_cores(host(tmp_path)).state == "not known"
