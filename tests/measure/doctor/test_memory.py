from pathlib import Path

import pytest

from loopmark.bench.measure.doctor.memory import HUGE, NODES, huge_pages, memory_left, numa_balancing, numa_nodes, swap
from tests.support.hosts import host

GIB = 2**20
"""In the kernel's kB."""


@pytest.mark.parametrize(
    ("setting", "state", "says"),
    [
        ("[always] madvise never", "good", "always"),
        ("always [madvise] never", "could be better", "madvise"),
        ("always madvise [never]", "could be better", "never"),
        ("", "not known", "no setting"),
    ],
)
def test_huge_pages_are_for_everyone_for_who_asks_or_for_nobody(
    tmp_path: Path, setting: str, state: str, says: str
) -> None:
    found = huge_pages(host(tmp_path, {HUGE: setting}))
    assert found.state == state
    assert says in found.reading
    asks = "THP_MEM_ALLOC_ENABLE=1 loopmark run" in found.commands
    assert asks == (says == "madvise")  # where nobody gets them, asking is no use


@pytest.mark.parametrize(
    ("total", "free", "state", "says"),
    [(0, 0, "good", "none"), (8, 8, "good", "0.0 of 8.0 GiB"), (8, 6, "could be better", "2.0 of 8.0 GiB")],
)
def test_swap_matters_once_it_is_in_use(tmp_path: Path, total: int, free: int, state: str, says: str) -> None:
    text = f"SwapTotal:  {total * GIB} kB\nSwapFree:   {free * GIB} kB\n"
    found = swap(host(tmp_path, {"proc/meminfo": text}))
    assert found.state == state
    assert says in found.reading


@pytest.mark.parametrize(
    ("left", "waited", "state"),
    [
        (8, "0.00", "good"),
        (8, None, "good"),
        (1, None, "could be better"),
        (8, "0.20", "could be better"),
        (8, "1.50", "bad"),
    ],
)
def test_memory_that_is_short_or_waited_for_is_told(tmp_path: Path, left: int, waited: str | None, state: str) -> None:
    files = {"proc/meminfo": f"MemTotal: {16 * GIB} kB\nMemFree: 5 kB\nMemAvailable: {left * GIB} kB\n"}
    if waited is not None:
        files["proc/pressure/memory"] = f"some avg10={waited} avg60=0.00 avg300=0.00 total=0\n"
    assert memory_left(host(tmp_path, files)).state == state


@pytest.mark.parametrize("text", ["", "MemTotal: many kB\n", "SwapTotal:\n"])
def test_memory_that_is_not_shown_is_not_known(tmp_path: Path, text: str) -> None:
    machine = host(tmp_path, {"proc/meminfo": text})
    assert (swap(machine).state, memory_left(machine).state) == ("not known", "not known")


TWO_NODES = {f"{NODES}/online": "0-1", f"{NODES}/node0/cpulist": "0-1", f"{NODES}/node1/cpulist": "2-7"}


def test_cores_of_two_nodes_could_be_better_and_the_node_with_most_cores_is_offered(tmp_path: Path) -> None:
    found = numa_nodes(host(tmp_path, TWO_NODES, cores=(0, 1, 2, 3)))
    assert found.state == "could be better"
    assert found.reading == "2; cores 0-3 are of nodes 0-1"
    assert found.commands == ("numactl --cpunodebind=1 --membind=1 loopmark run",)


def test_cores_of_one_node_are_good(tmp_path: Path) -> None:
    assert numa_nodes(host(tmp_path, TWO_NODES)).reading == "2; cores 0-1 are of node 0"
    one = {f"{NODES}/online": "0", f"{NODES}/node0/cpulist": "0-7"}
    assert numa_nodes(host(tmp_path / "other", one)).state == "good"


def test_nodes_that_are_not_shown_are_not_known(tmp_path: Path) -> None:
    assert numa_nodes(host(tmp_path)).state == "not known"
    assert numa_nodes(host(tmp_path, TWO_NODES, cores=(99,))).state == "not known"


@pytest.mark.parametrize(
    ("level", "nodes", "state"),
    [("0", "0-1", "good"), ("1", "0", "good"), ("1", "0-1", "could be better"), ("", "0-1", "not known")],
)
def test_pages_move_between_nodes_only_where_there_are_several(
    tmp_path: Path, level: str, nodes: str, state: str
) -> None:
    files = {"proc/sys/kernel/numa_balancing": level, f"{NODES}/online": nodes}
    assert numa_balancing(host(tmp_path, files)).state == state
