from pathlib import Path

from loopmark.bench.measure.doctor.energy import POWERCAP, energy_counter
from tests.support.hosts import VIRTUAL, host


def test_counters_that_can_be_read_are_good_and_parts_of_a_package_are_not_counted(tmp_path: Path) -> None:
    files = {f"{POWERCAP}/{zone}/energy_uj": "123\n" for zone in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0")}
    found = energy_counter(host(tmp_path, files))
    assert (found.state, found.reading) == ("good", "2 packages can be read")


def test_a_counter_that_is_closed_could_be_better_and_the_risk_of_opening_it_is_told(tmp_path: Path) -> None:
    (tmp_path / POWERCAP / "intel-rapl:0" / "energy_uj").mkdir(parents=True)  # root may read any file, but no folder
    found = energy_counter(host(tmp_path))
    assert found.state == "could be better"
    assert "tell every user" in found.remedy
    assert found.commands == ("sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj",)


def test_where_there_is_no_counter_nothing_is_known(tmp_path: Path) -> None:
    assert energy_counter(host(tmp_path)).state == "not known"
    assert "virtual machine" in energy_counter(host(tmp_path, VIRTUAL)).reading
