"""What a machine needs that has its own Python and no network."""

import shutil
import subprocess
import sys
from pathlib import Path

WITHOUT = "import sys; sys.modules.update(ruptures=None, cpuinfo=None); "


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", WITHOUT + code], capture_output=True, text=True)


def test_a_machine_has_the_same_name_without_cpuinfo() -> None:
    asked = "import bench.measure.machine as m; print(m.describe_machine('cpu').name)"
    plain = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert python(asked).stdout == plain.stdout != ""


def test_what_a_run_and_its_report_need_is_there_without_ruptures_and_cpuinfo(tmp_path: Path) -> None:
    reference = next((Path(__file__).parents[1] / "results/reference").glob("*/*/run.json")).parent
    run = shutil.copytree(reference, tmp_path / "run")
    done = python(
        "import bench.measure.whole_run, bench.measure.worker, bench.cli; "
        f"sys.argv = ['loopmark', 'report', {str(run)!r}]; bench.cli.main()"
    )
    assert done.returncode == 0, done.stderr


def test_a_history_without_ruptures_says_what_to_install() -> None:
    done = python("from bench.judge.change_points import change_points; change_points([0.0] * 9, 0.1)")
    assert done.stderr.splitlines()[-1].endswith("not installed; pip install ruptures")
