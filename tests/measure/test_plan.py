from pathlib import Path

import pytest
import torch

from loopmark.bench.errors import BadInput
from loopmark.bench.measure import plan as plan_module
from loopmark.bench.measure.plan import DEFAULT_LOOPS, PlanOptions, make_plan, terms_within_a_run, training_terms

EXAMPLES = Path(__file__).parent.parent / "examples"


def plan(**wishes):
    return make_plan(PlanOptions(command=["loopmark", "run"], **wishes))


def test_the_default_plan_has_the_baseline_first_and_every_default_loop() -> None:
    made = plan(device="cpu")

    assert made.loops[0] == "eager"
    assert set(made.loops) == set(DEFAULT_LOOPS)
    assert made.size == "small"


def test_a_gpu_gets_three_launches_since_each_start_costs_more_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    assert plan().launches == 3
    assert plan(device="cpu").launches == 5
    assert plan(launches=7).launches == 7


def test_a_plan_without_the_baseline_gets_it() -> None:
    assert plan(loops=["amp_bf16"], device="cpu").loops == ("eager", "amp_bf16")


def test_another_baseline_takes_the_place_of_eager() -> None:
    made = plan(loops=["amp_bf16", "compile"], baseline="compile", device="cpu")
    own = plan(loops=[f"{EXAMPLES / 'own_loop.py'}:step"], baseline=f"{EXAMPLES / 'own_loop.py'}:step", device="cpu")

    assert (made.baseline, made.loops) == ("compile", ("compile", "amp_bf16"))
    assert (own.baseline, own.loops) == ("own_loop:step", (f"{EXAMPLES / 'own_loop.py'}:step",))
    assert plan(device="cpu").baseline == "eager"


def test_without_loops_eager_and_the_techniques_are_compared_with_the_baseline() -> None:
    made = plan(baseline="foreach_optimizer", device="cpu")

    assert made.loops[0] == "foreach_optimizer"
    assert {*DEFAULT_LOOPS} < {*made.loops}


def test_a_baseline_that_is_no_loop_is_refused() -> None:
    with pytest.raises(BadInput, match="no loop named 'ampp'; did you mean 'amp_"):
        plan(baseline="ampp", device="cpu")


def test_a_baseline_without_a_name_is_refused_rather_than_taken_for_eager() -> None:
    with pytest.raises(BadInput, match="--baseline has no name; give a loop"):
        plan(baseline="", device="cpu")


def test_one_loop_under_two_spellings_is_measured_once() -> None:
    assert plan(loops=["compile+amp_bf16", "amp_bf16+compile"], device="cpu").loops == ("eager", "amp_bf16+compile")


def test_two_steps_of_one_name_are_refused_rather_than_one_of_them_dropped(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("def step(task, inputs, targets):\n    yield 'forward'\n")
    specs = [f"{tmp_path / folder / 'mine.py'}:step" for folder in ("a", "b")]

    with pytest.raises(BadInput, match="have the same name mine:step"):
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
        ({"device": "mps"}, "shows no mps device; give cpu"),
        ({"device": "meta"}, "shows no meta device; give cpu"),
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


def test_asked_for_determinism_every_loop_has_it_once_and_eager_stays_to_show_what_it_costs() -> None:
    made = plan(device="cpu", loops=["compile", "deterministic+amp_bf16", "eager"], deterministic=True)

    assert made.loops[0] == "eager"
    assert set(made.loops[1:]) == {"deterministic", "deterministic+compile", "deterministic+amp_bf16"}
    assert len(made.loops) == 4


def test_train_goes_on_to_convergence_and_insists_on_a_target_and_a_run_does_neither() -> None:
    alone, within = training_terms(None, None, quick=False), terms_within_a_run(1, quick=False)

    assert (alone.until, alone.insists, alone.seeds) == ("convergence", True, 3)
    assert (within.until, within.insists, within.seeds) == ("target", False, 1)


@pytest.mark.parametrize(
    ("seeds", "budget_seconds", "says"),
    [(0, None, "--seeds 0"), (1001, None, "--seeds 1001"), (1, float("inf"), "--budget inf"), (1, 1e9, "--budget 1e")],
)
def test_terms_that_make_no_sense_are_refused_in_one_line(seeds: int, budget_seconds: float, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        training_terms(seeds, budget_seconds, quick=False)


@pytest.mark.parametrize(("has_events", "more"), [(True, ["graph_model"]), (False, ["graph_model", "graph_phases"])])
def test_a_gpu_gets_more_graphs_by_default_and_one_with_phases_where_the_whole_one_has_none(
    monkeypatch: pytest.MonkeyPatch, has_events: bool, more: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(plan_module, "has_external_events", lambda: has_events)
    assert list(make_plan(PlanOptions(command=["loopmark"])).loops) == [
        *(loop for loop in DEFAULT_LOOPS if loop != "fused_optimizer+compile"),
        *more,
    ]


@pytest.fixture
def xpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("xpu"))
    return monkeypatch


def test_another_accelerator_is_taken_where_its_events_can_be_timed(xpu: pytest.MonkeyPatch) -> None:
    asked = []
    xpu.setattr(plan_module, "apart", lambda question, device: asked.append((question, device)))
    made = plan(device="xpu")
    assert asked == [(plan_module.why_untimed, "xpu:0")]
    assert (made.device, made.size, made.block_seconds) == ("xpu:0", "large", 0.02)
    assert set(made.loops) == set(DEFAULT_LOOPS)


def test_a_device_that_cannot_time_says_so(xpu: pytest.MonkeyPatch) -> None:
    xpu.setattr(plan_module, "apart", lambda question, device: "no timing here")
    with pytest.raises(BadInput, match=r"--device xpu:1: this device cannot time its own work.*: no timing here"):
        plan(device="xpu:1")


@pytest.mark.usefixtures("xpu")
def test_an_accelerator_of_another_kind_is_not_there() -> None:
    with pytest.raises(BadInput, match="shows no mps device"):
        plan(device="mps")
