"""Checks of the processor and the memory, on made-up machines."""

from pathlib import Path

import pytest

from loopmark.bench.measure.doctor.hardware import (
    HUGE,
    NODES,
    POWERCAP,
    allowed_cores,
    boost,
    energy_counter,
    governor,
    huge_pages,
    isolated_cores,
    load,
    memory_left,
    numa_balancing,
    numa_nodes,
    quota,
    siblings,
    steal,
    swap,
)
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
        (limited("200000 100000", throttled=3), "could be better", "used up in 3 periods so far"),
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
    assert found.reading == "cores 0-1 used, of 3 allowed and 8 of the machine; core 0 not allowed"
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
        assert f"in {float(waited):g} % of the last 10 s a task waited" in found.reading


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
    assert "not every hypervisor reports it" in steal(host(tmp_path, stat(0) | VIRTUAL)).reading


@pytest.mark.parametrize("text", ["", "cpu0 1 2 3\n", "cpu7 1 2 3 4 5 6 7 8 9 10\n", "cpu0 0 0 0 5 5 0 0 0 0 0\n"])
def test_stolen_time_that_is_not_counted_is_not_known(tmp_path: Path, text: str) -> None:
    assert steal(host(tmp_path, {"proc/stat": text})).state == "not known"


def governors(*names: str, driver: str = "acpi-cpufreq") -> dict[str, str]:
    return {
        f"{CPU}/cpu{core}/cpufreq/{file}": text
        for core, name in enumerate(names)
        for file, text in (("scaling_governor", f"{name}\n"), ("scaling_driver", f"{driver}\n"))
    }


def test_a_fixed_governor_is_good(tmp_path: Path) -> None:
    assert governor(host(tmp_path, governors("performance", "performance"))).state == "good"


def test_a_governor_that_follows_the_load_could_be_better_and_the_command_is_told(tmp_path: Path) -> None:
    found = governor(host(tmp_path, governors("performance", "schedutil")))
    assert found.state == "could be better"
    assert found.reading == "performance, schedutil on cores 0-1"
    assert found.commands == ("sudo cpupower frequency-set -g performance",)


def test_only_the_cores_used_count(tmp_path: Path) -> None:
    files = governors("performance", "performance", "schedutil")
    assert governor(host(tmp_path, files)).state == "good"


@pytest.mark.parametrize(
    ("driver", "state"),
    [
        ("acpi-cpufreq", "bad"),
        ("intel_cpufreq", "bad"),
        ("intel_pstate", "could be better"),
        ("amd-pstate-epp", "could be better"),
    ],
)
def test_powersave_is_the_lowest_clock_unless_the_processor_chooses_itself(
    tmp_path: Path, driver: str, state: str
) -> None:
    assert governor(host(tmp_path, governors("powersave", "powersave", driver=driver))).state == state


def test_without_a_governor_nothing_is_known_and_a_virtual_machine_is_told_why(tmp_path: Path) -> None:
    assert governor(host(tmp_path)).state == "not known"
    assert "the host" not in governor(host(tmp_path)).reading
    assert "the host chooses" in governor(host(tmp_path, VIRTUAL)).reading


@pytest.mark.parametrize(
    ("files", "state", "commands"),
    [
        ({f"{CPU}/intel_pstate/no_turbo": "1"}, "good", ()),
        ({f"{CPU}/intel_pstate/no_turbo": "0"}, "could be better",
         (f"echo 1 | sudo tee /{CPU}/intel_pstate/no_turbo",)),
        ({f"{CPU}/cpufreq/boost": "0"}, "good", ()),
        ({f"{CPU}/cpufreq/boost": "1"}, "could be better", (f"echo 0 | sudo tee /{CPU}/cpufreq/boost",)),
        ({f"{CPU}/cpufreq/boost": "who knows"}, "not known", ()),
        ({}, "not known", ()),
    ],
)  # fmt: skip
def test_boost_is_told_in_the_words_of_either_driver(
    tmp_path: Path, files: dict[str, str], state: str, commands: tuple[str, ...]
) -> None:
    found = boost(host(tmp_path, files))
    assert (found.state, found.commands) == (state, commands)


def test_counters_that_can_be_read_are_good_and_parts_of_a_package_are_not_counted(tmp_path: Path) -> None:
    files = {f"{POWERCAP}/{zone}/energy_uj": "123\n" for zone in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0")}
    found = energy_counter(host(tmp_path, files))
    assert (found.state, found.reading) == ("good", "2 packages can be read")


def test_a_counter_that_is_closed_could_be_better_and_the_risk_of_opening_it_is_told(tmp_path: Path) -> None:
    (tmp_path / POWERCAP / "intel-rapl:0" / "energy_uj").mkdir(parents=True)  # a folder, since root may read any file
    found = energy_counter(host(tmp_path))
    assert found.state == "could be better"
    assert "reveal to every user" in found.remedy
    assert found.commands == ("sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj",)


def test_where_there_is_no_counter_nothing_is_known(tmp_path: Path) -> None:
    assert energy_counter(host(tmp_path)).state == "not known"
    assert "virtual machine" in energy_counter(host(tmp_path, VIRTUAL)).reading


GIB = 2**20
"""In the kernel's unit, kB."""


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
    assert asks == (says == "madvise")  # with "never", asking does not help


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
