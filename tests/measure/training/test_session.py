import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from loopmark.bench.measure.device_clock import make_clock
from loopmark.bench.measure.training.session import TrainingSession
from loopmark.bench.records.training import Target
from loopmark.loops import eager
from loopmark.loops.catalog import WORKLOADS, find_loop
from loopmark.loops.goal import Goal
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Task
from loopmark.loops.technique import Skip
from tests.support.tiny import CPU, losses_of, make_tiny_task, prepared


def regression() -> Task:
    return WORKLOADS["regression"].make(CPU, "small", None, 0)


def session(loop: Loop = EAGER, task: Task | None = None) -> TrainingSession:
    task, step = prepared(loop, task or regression())
    return TrainingSession(task, make_clock(task, step))


def test_it_begins_with_the_target_the_epochs_length_and_how_good_the_untrained_model_is() -> None:
    task = regression()
    assert task.goal is not None
    untrained = task.goal.quality(task.model)
    begun = session(task=task).begin()
    assert begun.target == Target("R²", 0.45, higher_is_better=True)
    assert begun.steps_per_epoch == 354 // 64
    assert begun.quality == untrained


def test_batches_that_do_not_say_how_many_they_are_have_no_epochs() -> None:
    class Endless(IterableDataset):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            while True:
                yield torch.zeros(1), torch.zeros(1)

    for batches in (DataLoader(Endless(), batch_size=2), (pair for pair in [(torch.zeros(2, 1), torch.zeros(2, 1))])):
        task = Task(nn.Linear(1, 1), nn.functional.mse_loss, torch.optim.SGD, batches)
        assert session(task=task).begin().steps_per_epoch is None


def test_a_task_without_a_goal_has_no_target_and_no_quality() -> None:
    begun = session(task=make_tiny_task()).begin()
    assert begun.target is None
    assert begun.quality is None


def test_legs_are_the_loops_own_training_one_after_the_other() -> None:
    own = session()
    own.begin()
    losses = [*own.segment(3, one_by_one=2).losses, *own.segment(4).losses, *own.segment(1).losses]
    assert losses == losses_of(*prepared(EAGER, regression()), 8)


def test_quality_is_the_goals_after_each_leg() -> None:
    task = regression()
    own = session(task=task)
    begun, segments = own.begin(), [own.segment(5), own.segment(5)]
    assert task.goal is not None
    assert begun.quality is not None
    assert begun.quality < segments[0].quality < segments[1].quality == task.goal.quality(task.model)


def test_the_first_steps_are_each_timed_and_are_part_of_the_whole() -> None:
    own = session()
    segment = own.segment(6, one_by_one=2)
    assert len(segment.first_steps_seconds) == 2
    assert min(segment.first_steps_seconds) > 0
    assert sum(segment.first_steps_seconds) < segment.seconds
    assert own.segment(2).first_steps_seconds == ()


def test_measuring_quality_is_no_part_of_training() -> None:
    task = regression()
    step = EAGER.prepare(task)
    clock = make_clock(task, step)
    before = {"steps": 0}

    def slow(model: nn.Module) -> float:
        assert not model.training
        before["steps"] += 1
        return 0.5

    task.goal = Goal("patience", 1.0, slow)
    state = [parameter.detach().clone() for parameter in task.model.parameters()]
    begun = TrainingSession(task, clock).begin()
    assert before["steps"] == 1
    assert begun.quality == 0.5
    assert all(torch.equal(one, other) for one, other in zip(state, task.model.parameters(), strict=True))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_training_stops_at_the_very_step_at_which_the_loss_is_lost(value: float) -> None:
    def loses(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield from eager.step(task, inputs, targets)
        taken.append(1)
        if len(taken) == 4:
            task.last_loss = torch.tensor(value)

    taken: list[int] = []
    segment = session(Loop("own", loses)).segment(10)
    assert len(taken) == len(segment.losses) == 4
    assert not math.isfinite(segment.losses[-1])
    assert all(math.isfinite(loss) for loss in segment.losses[:-1])


def test_a_step_that_leaves_no_loss_cannot_be_watched_and_is_skipped_with_the_reason() -> None:
    def silent(task: Task, inputs: Tensor, targets: Tensor) -> Iterator[str]:
        yield from eager.step(task, inputs, targets)
        task.last_loss = None

    with pytest.raises(Skip, match=r"the step leaves no loss in task\.last_loss"):
        session(Loop("own", silent)).segment(2)


def test_a_scalers_skips_and_scale_are_told_and_others_have_none() -> None:
    task = regression()
    own = session(find_loop("amp_fp16"), task)
    segment = own.segment(20)
    assert segment.skipped_steps is not None
    assert segment.skipped_steps > 0  # the first scale is too large for this loss in float16
    assert segment.final_scale == task.scaler.get_scale() == 65536.0 / 2**segment.skipped_steps
    plain = session().segment(1)
    assert (plain.skipped_steps, plain.final_scale) == (None, None)


def test_a_scale_that_is_no_number_is_none_and_not_written_down() -> None:
    task = regression()
    own = session(find_loop("amp_fp16"), task)
    own.segment(1)
    task.scaler.update(math.inf)
    assert own.segment(0).final_scale is None


def test_what_was_not_compiled_took_no_time_to_compile() -> None:
    segment = session().segment(1)
    assert (segment.compile_seconds, segment.compile_cache) == (0, "none")
    assert replace(segment, joules=0.0).joules == 0.0
