from pathlib import Path

import pytest
import torch

from bench.errors import BadInput
from bench.measure.plan import DEFAULT_LOOPS, Wish, make_plan

EXAMPLES = Path(__file__).parent.parent / "examples"


def plan(**wishes):
    return make_plan(Wish(command=["loopmark", "run"], **wishes))


def test_the_default_plan_has_the_baseline_first_and_every_default_loop() -> None:
    made = plan(device="cpu")

    assert made.loops[0] == "eager"
    assert set(made.loops) == set(DEFAULT_LOOPS)
    assert made.size == "small"


def test_a_plan_without_the_baseline_gets_it() -> None:
    assert plan(loops=["amp_bf16"], device="cpu").loops == ("eager", "amp_bf16")


def test_one_loop_under_two_spellings_is_measured_once() -> None:
    assert plan(loops=["compile+amp_bf16", "amp_bf16+compile"], device="cpu").loops == ("eager", "amp_bf16+compile")


def test_two_steps_of_one_name_are_refused_rather_than_one_of_them_dropped(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("def step(task, inputs, targets):\n    yield 'forward'\n")
    specs = [f"{tmp_path / folder / 'mine.py'}:step" for folder in ("a", "b")]

    with pytest.raises(BadInput, match="would both be called mine:step"):
        plan(loops=specs, device="cpu")


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"budget_seconds": -1.0}, "--budget -1.0"),
        ({"budget_seconds": 0.0}, "--budget 0.0"),
        ({"budget_seconds": float("nan")}, "--budget nan"),
        ({"budget_seconds": float("inf")}, "--budget inf"),
        ({"launches": 0}, "--launches 0"),
        ({"threads": 0}, "--threads 0"),
        ({"threads": 10_000}, "--threads 10000"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": 2**70}, "--seed"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"size": "huge"}, "no size 'huge'; give small or large"),
        ({"device": "gpu9"}, "no device 'gpu9'"),
        ({"device": "mps"}, "cannot time 'mps'"),
        ({"device": "meta"}, "cannot time 'meta'"),
        ({"loops": ["ampp"]}, "did you mean"),
        ({"workloads": ["resnett"]}, "did you mean 'resnet'"),
        ({"limit_seconds": 0.0}, "--limit"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_in_one_line_that_names_it(wish: dict, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        plan(**wish)

    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_cuda_device_that_is_not_there_is_refused_with_what_to_do() -> None:
    with pytest.raises(BadInput, match=r"shows no CUDA device.*give --device cpu"):
        plan(device="cuda")
