"""``loopmark find-batch`` on the command line."""

import json
from pathlib import Path

import pytest

from loopmark.bench.records.batch_sizes import read_batch_sizes
from tests.support.command import ROOT, Here

QUICK = ("find-batch", "--workload", "regression", "--threads", 1)


def test_a_search_ends_with_a_table_a_sentence_and_a_folder_that_can_be_drawn_again(here: Here, tmp_path: Path) -> None:
    done = here(*QUICK, "--loop", "foreach_optimizer", "--batch-size", 200, "--budget", 15, "--out", tmp_path)
    (folder,) = tmp_path.glob("*/2*")

    assert done.returncode == 0, done.stderr
    assert "regression, eager: the largest batch that" in done.stdout
    assert "regression, foreach_optimizer: the largest batch that" in done.stdout
    assert {path.name for path in folder.iterdir()} == {"batches.json", "batches.csv", "plots"}

    again = here("report", folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


def test_json_is_all_that_standard_output_gets_and_a_loop_that_fits_nowhere_makes_the_status_1(
    here: Here, tmp_path: Path
) -> None:
    bad = ROOT / "tests" / "examples" / "misbehaving.py"
    done = here(
        *QUICK, "--loop", f"{bad}:raises_at_once", "--batch-size", 300, "--budget", 4, "--json", "--out", tmp_path
    )
    eager, raises = json.loads(done.stdout)["cases"]
    (folder,) = tmp_path.glob("*/2*")
    hunt = read_batch_sizes(folder)

    assert done.returncode == 1
    # None: on a busy machine, processes may differ by more than sizes do. Then no size is recommended.
    assert eager["recommended_batch_size"] in {150, 300, eager["data_rows"], None}
    assert raises["status"] == "failed"
    assert "wrong from the start" in raises["reason"]
    assert hunt is not None
    assert [case.status for case in hunt.cases] == ["ok", "failed"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--launches", "3"], "No such option"),
        (["--seeds", "2"], "No such option"),
        (["--batch-size", "0"], "--batch-size 0 makes no sense"),
        (["--budget", "nan"], "--budget nan makes no sense"),
        (["--loop", "ampp"], "no loop named 'ampp'"),
        (["--out", "/dev/null/x"], "choose another --out"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(here: Here, arguments: list[str], says: str) -> None:
    done = here(*QUICK, *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
