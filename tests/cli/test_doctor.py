"""``loopmark doctor`` on the command line."""

import json

import pytest

from tests.support.command import loopmark


def test_it_is_advice_and_so_its_status_is_0_whatever_it_finds() -> None:
    done = loopmark("doctor", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("This machine, for loops on cpu\n")
    assert done.stdout.rstrip().endswith("Loopmark changes nothing by itself.")
    assert "Traceback" not in done.stderr


def test_json_is_all_that_standard_output_gets() -> None:
    found = json.loads(loopmark("doctor", "--device", "cpu", "--json").stdout)
    assert found["device"] == "cpu"
    assert {finding["state"] for finding in found["findings"]} <= {"good", "could be better", "bad", "not known"}
    assert not any(finding["area"] == "GPU" for finding in found["findings"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--device", "gpu"], "no device 'gpu'; give cpu, cuda or cuda:N"),
        (["--device", "cuda:x"], "no device 'cuda:x'"),
        (["--device", "xpu:0"], "doctor checks processors and CUDA devices only"),
        (["--device"], "requires an argument"),
        (["--threads", "1"], "No such option"),
        (["everything"], "unexpected extra argument"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(arguments: list[str], says: str) -> None:
    done = loopmark("doctor", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr


@pytest.mark.cuda
def test_a_real_gpu_is_looked_at_by_default() -> None:
    found = json.loads(loopmark("doctor", "--json").stdout)
    of_gpu = {finding["name"]: finding["state"] for finding in found["findings"] if finding["area"] == "GPU"}
    assert found["device"] == "cuda:0"
    assert of_gpu["clocks"] != "not known"
    assert of_gpu["other processes"] != "not known"
