"""The limits of a control group, read from a made-up /proc and /sys of either version."""

import math
from pathlib import Path

import pytest

from loopmark.bench.measure.cgroup import (
    MEMORY_1,
    MEMORY_2,
    Quota,
    cpu_quota,
    cpuset,
    free_host_bytes,
    memory_rooms,
    numbers,
)
from tests.support.files import write

GIB = 2**30


def test_a_containers_quota_of_version_2_is_at_its_own_root(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/cpu.stat": "usage_usec 9\nnr_throttled 7\n",
        },
    )
    assert cpu_quota(tmp_path) == Quota(1.5, 7)


def test_of_nested_groups_the_tightest_quota_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a.slice/b.scope\n",
            "sys/fs/cgroup/cgroup.procs": "",
            "sys/fs/cgroup/a.slice/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/a.slice/b.scope/cpu.max": "max 100000\n",
        },
    )
    assert cpu_quota(tmp_path) == Quota(0.5, 0)


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1_is_found_wherever_its_controller_is_mounted(tmp_path: Path, mount: str) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": f"4:memory:/x\n3:{mount}:/docker/abc\n0::/\n",
            f"sys/fs/cgroup/{mount}/docker/abc/cpu.cfs_quota_us": "200000\n",
            f"sys/fs/cgroup/{mount}/docker/abc/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cpu_quota(tmp_path) == Quota(2.0, 0)


def test_a_path_of_the_hosts_that_a_container_cannot_see_is_its_own_root(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "2:cpu:/kubepods/pod1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert cpu_quota(tmp_path) == Quota(1.0, 0)


@pytest.mark.parametrize("path", ["/../../../proc", "/.."])
def test_a_group_outside_of_what_is_mounted_is_not_followed(tmp_path: Path, path: str) -> None:
    write(tmp_path, {"proc/self/cgroup": f"0::{path}\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"})
    assert cpu_quota(tmp_path) == Quota(3.0, 0)


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "max 100000\n"},
        {"sys/fs/cgroup/cgroup.procs": ""},  # the machine's root group has no such file
        {"sys/fs/cgroup/cpu.max": "100000 0\n"},
        {"sys/fs/cgroup/cpu.max": "nonsense\n"},
        {"sys/fs/cgroup/cpu.max": ""},
    ],
)
def test_no_quota_is_infinite_and_not_unknown(tmp_path: Path, files: dict[str, str]) -> None:
    quota = cpu_quota(write(tmp_path, {"proc/self/cgroup": "0::/\n", **files}))
    assert quota is not None
    assert math.isinf(quota.cores)


def test_without_control_groups_nothing_is_known(tmp_path: Path) -> None:
    assert (cpu_quota(tmp_path), cpuset(tmp_path)) == (None, None)
    write(tmp_path, {"proc/self/cgroup": "0::/\n"})  # no cgroup is mounted
    assert (cpu_quota(tmp_path), cpuset(tmp_path)) == (None, None)


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpuset.cpus.effective": "0-1,6\n"},
        {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/x": "", "sys/fs/cgroup/a/cpuset.cpus.effective": "0-1,6"},
        {"proc/self/cgroup": "3:cpuset:/a\n", "sys/fs/cgroup/cpuset/a/cpuset.effective_cpus": "0-1,6"},
        {"proc/self/cgroup": "3:cpuset:/\n", "sys/fs/cgroup/cpuset/cpuset.cpus": "0-1,6"},
    ],
)
def test_the_cores_that_a_group_may_use_are_those_of_the_nearest_one_that_tells(
    tmp_path: Path, files: dict[str, str]
) -> None:
    assert cpuset(write(tmp_path, files)) == (0, 1, 6)


@pytest.mark.parametrize(
    ("listed", "meant"), [("0-2,7", (0, 1, 2, 7)), ("5\n", (5,)), ("", ()), ("\n", ()), ("a-b,1", (1,))]
)
def test_the_kernels_lists_are_read(listed: str, meant: tuple[int, ...]) -> None:
    assert numbers(listed) == meant


def memory_of(root: Path, level: str, limit: object, used: int, idle: int, names: tuple[str, str, str]) -> None:
    files = {names[0]: f"{limit}\n", names[1]: f"{used}\n", "memory.stat": f"anon 12\n{names[2]} {idle}\n"}
    write(root, {f"sys/fs/cgroup/{level}/{name}": text for name, text in files.items()})


def test_every_group_around_the_process_counts_and_one_without_a_limit_does_not(tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": "0::/outer/inner\n"})
    memory_of(tmp_path, ".", "max", 1, 0, MEMORY_2)
    memory_of(tmp_path, "outer", 10 * GIB, 8 * GIB, 1 * GIB, MEMORY_2)
    memory_of(tmp_path, "outer/inner", 9 * GIB, 1 * GIB, 0, MEMORY_2)
    assert sorted(memory_rooms(tmp_path)) == [3 * GIB, 8 * GIB]


def test_the_groups_of_the_first_version_are_read_too(tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": "8:pids:/job\n4:memory:/job\n0::/\n"})
    memory_of(tmp_path, "memory/job", 4 * GIB, 5 * GIB, 0, MEMORY_1)
    assert list(memory_rooms(tmp_path)) == [0]


def test_a_container_that_does_not_see_its_own_folder_is_held_to_the_one_above(tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": "0::/docker/abc\n"})
    memory_of(tmp_path, ".", 2 * GIB, GIB, 0, MEMORY_2)
    assert list(memory_rooms(tmp_path)) == [GIB]


def test_no_groups_are_no_limit(tmp_path: Path) -> None:
    assert list(memory_rooms(write(tmp_path, {"proc/self/cgroup": "0::/\nnonsense\n\n"}))) == []


def test_memory_is_free_within_the_tightest_limit(tmp_path: Path) -> None:
    unlimited = free_host_bytes(tmp_path)
    write(tmp_path, {"proc/self/cgroup": "0::/\n"})
    memory_of(tmp_path, ".", 1_000_000, 400_000, 0, MEMORY_2)
    assert free_host_bytes(tmp_path) == 600_000 < unlimited
    memory_of(tmp_path, ".", 1_000_000, 2_000_000, 0, MEMORY_2)
    assert free_host_bytes(tmp_path) == 0
    memory_of(tmp_path, ".", "max", 400_000, 0, MEMORY_2)
    assert free_host_bytes(tmp_path) > 600_000
