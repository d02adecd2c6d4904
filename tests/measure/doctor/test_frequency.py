from pathlib import Path

import pytest

from loopmark.bench.measure.doctor.frequency import boost, governor
from tests.support.hosts import CPU, VIRTUAL, host


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
