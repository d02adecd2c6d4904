"""Each fault planted into the canonical step is found by its name; unusual but correct steps pass."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from loopmark.bench.measure.properties import step_trace, training_checks
from loopmark.bench.measure.properties.prepared_loop import PreparedLoop
from loopmark.loops.task import Task
from tests.measure.properties.examined import CANONICAL, broken, loop_under_test, outcomes, planted, tiny
from tests.measure.properties.faults import FAULTS, ODD, PENALTY


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught_by_its_name_and_blamed_on_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_trace, "MOST_YIELDS", 100)  # each yield inspects the task, which takes time
    fault = FAULTS[name]
    found = broken(loop_under_test(planted(tmp_path, **fault.instead)))

    assert set(found) == set(fault.breaks)
    assert any(fault.says in explanation for explanation in found.values()), found


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_and_no_fault_is_let_pass(name: str, tmp_path: Path) -> None:
    assert broken(loop_under_test(planted(tmp_path, **ODD[name]))) == {}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("steps twice", CANONICAL["update"]),
        ("reads the loss", "float(loss.detach())"),
        ("detaches the loss", CANONICAL["differentiate"]),
        ("raises in forward", "raise ValueError"),
        ("yields inside autocast", CANONICAL["predicted"]),
        ("forks", "fork()"),
    ],
)
def test_an_explanation_says_where(name: str, line: str, tmp_path: Path) -> None:
    spec = planted(tmp_path, **FAULTS[name].instead)
    (explanation,) = broken(loop_under_test(spec)).values()
    text = Path(spec.partition(":")[0]).read_text().splitlines()

    assert f"planted.py:{next(i for i, one in enumerate(text, start=1) if line in one)}" in explanation


def test_a_copy_of_the_model_calls_its_own_weights(tmp_path: Path) -> None:
    examined = loop_under_test(planted(tmp_path, **ODD["a moving average of the model"]))
    assert broken(examined) == {}
    task = examined.prepared.task
    inputs, _ = task.next_batch()
    assert not torch.equal(task.average(inputs), task.model(inputs))  # type: ignore[attr-defined]


def test_a_workload_that_ignores_its_seed_is_not_the_loops_fault(tmp_path: Path) -> None:
    found = outcomes(loop_under_test(planted(tmp_path), lambda _: tiny(7)))["seed-decides"]
    assert found.status == "not applicable"
    assert "workload" in found.explanation


@pytest.mark.parametrize(
    ("apart", "threads", "status"),
    [(2.0**-23, 2, "not applicable"), (2.0**-23, 1, "broken"), (2.0**-10, 2, "broken")],
)
def test_losses_that_part_by_no_more_than_rounding_are_told_from_those_of_other_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: float, threads: int, status: str
) -> None:
    told, calls = training_checks.losses_of, itertools.count()

    def unsteady(prepared: PreparedLoop, steps: int) -> list[float | None]:
        losses = told(prepared, steps)
        if next(calls) not in (0, 2):  # the second run, and the second of the two with an empty compiler
            return losses
        return [*losses[:2], *(loss and loss * (1 + apart) for loss in losses[2:])]

    monkeypatch.setattr(training_checks, "losses_of", unsteady)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = outcomes(loop_under_test(planted(tmp_path)))["seed-decides"]
    assert found.status == status
    assert "from step 3 on" in found.explanation


def test_a_loss_that_does_not_fall_in_eager_either_is_not_the_loops_fault(tmp_path: Path) -> None:
    def stuck(seed: int) -> Task:
        task = tiny(seed)
        task.make_optimizer = lambda parameters: torch.optim.SGD(parameters, lr=0.0)
        return task

    assert outcomes(loop_under_test(planted(tmp_path), stuck))["loss-decreases"].status == "not applicable"


def test_a_fall_that_dropout_explains_is_not_compared(tmp_path: Path) -> None:
    def warming_up(seed: int) -> Task:
        task = tiny(seed)
        task.make_scheduler = lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: n / 1e6)
        blocks: nn.Sequential = task.model.blocks  # type: ignore[assignment]
        blocks.append(nn.Dropout(0.9))
        return task

    outcome = outcomes(loop_under_test(planted(tmp_path, predict="torch.rand(7)\n{predict}"), warming_up))
    assert outcome["loss-decreases"].status == "not applicable"


def test_a_gradient_that_is_zero_by_itself_is_not_detached(tmp_path: Path) -> None:
    difference = "loss = predictions[:8].mean() - predictions[8:].mean()"  # no bias of the last layer changes it
    found = outcomes(loop_under_test(planted(tmp_path, compare=difference)))["loss-reaches-parameters"]
    assert found.status == "holds", found.explanation


def test_compile_is_blamed_for_a_gradient_that_it_cannot_differentiate(tmp_path: Path) -> None:
    examined = loop_under_test(f"{planted(tmp_path, **PENALTY)}+compile")
    (explanation,) = broken(examined).values()
    assert "planted.py:" in explanation and "in `backward`" in explanation
    assert "does not currently support double backward" in explanation
    assert explanation.endswith("leave compile out of this loop")


def test_of_a_step_that_stops_what_cannot_be_told_is_left_open(tmp_path: Path) -> None:
    found = outcomes(loop_under_test(planted(tmp_path, **FAULTS["raises in forward"].instead)))
    assert found["runs"].status == "broken"
    assert {found[name].status for name in ("phases-in-order", "zeroed-gradients", "one-update", "loss-decreases")} == {
        "not applicable"
    }
