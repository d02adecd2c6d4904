"""Whole steps with memory that is known, or in a known order."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from loopmark.bench.measure.clock import BadStep
from loopmark.bench.measure.memory_profile import follow
from loopmark.bench.records.footprint import Footprint
from loopmark.loops.catalog import find_loop
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.task import Batches, Task
from loopmark.loops.technique import Driver, Skip, Technique
from loopmark.phases import PHASES
from tests.examples import own_words
from tests.support.tiny import make_tiny_task

FLOAT = 4
ROWS, WIDTH = 8, 16


def linear_task() -> Task:
    data = torch.zeros(ROWS * 20, WIDTH)
    return Task(
        model=nn.Linear(WIDTH, 1, bias=False),
        loss_fn=lambda predictions, targets: predictions.sum(),
        make_optimizer=partial(torch.optim.SGD, lr=0.1),
        batches=Batches(data, data[:, :1], batch_size=ROWS, seed=0),
    )


def bytes_at_end(footprint: Footprint, phase: str) -> int:
    return next(one.end_bytes for one in footprint.phases if one.phase == phase)


def test_every_byte_of_a_small_step_is_counted_in_its_phase() -> None:
    step = follow(linear_task(), EAGER)
    weight, batch, predictions = WIDTH * FLOAT, ROWS * (WIDTH + 1) * FLOAT, ROWS * FLOAT

    assert step.kind == "tensors alive"
    assert step.batch_size == ROWS
    assert step.before_bytes == 2 * weight  # and its gradient
    assert bytes_at_end(step, "data") == 2 * weight + batch
    assert bytes_at_end(step, "zero_grad") == weight + batch
    assert bytes_at_end(step, "forward") == weight + batch + predictions
    assert bytes_at_end(step, "loss") == weight + batch + predictions + FLOAT
    assert bytes_at_end(step, "backward") >= 2 * weight + batch


def test_the_phases_come_in_their_order_and_the_peak_is_one_of_theirs() -> None:
    step = follow(make_tiny_task(), EAGER)

    assert tuple(phase.phase for phase in step.phases) == PHASES
    assert step.peak.peak_bytes == max(phase.peak_bytes for phase in step.phases)
    assert step.peak.peak_bytes == max(bytes_ for stretch in step.stretches for bytes_ in stretch.moments)
    assert step.peak.phase == "backward"
    assert step.peak_operator is not None
    assert step.fragmentation_bytes is None  # a CPU's allocator gives no figure


def test_phases_of_an_enumeration_of_the_persons_own_are_plain_text() -> None:
    step = follow(make_tiny_task(), Loop("own_words", own_words.step))

    assert tuple(phase.phase for phase in step.phases) == PHASES
    assert {type(stretch.phase) for stretch in step.stretches} == {str}


def test_a_step_is_followed_alike_each_time() -> None:
    first, again = (follow(make_tiny_task(), EAGER) for _ in range(2))

    assert first.phases == again.phases


def test_checkpointing_keeps_less_from_forward_and_accumulation_less_in_all() -> None:
    eager, checkpoint, parts = (
        follow(make_tiny_task(batch_size=64), find_loop(name)) for name in ("eager", "checkpoint", "accumulate_4")
    )

    assert bytes_at_end(checkpoint, "forward") < bytes_at_end(eager, "forward")
    assert parts.peak.peak_bytes < eager.peak.peak_bytes
    assert [stretch.phase for stretch in parts.stretches].count("forward") == 4
    assert [phase.phase for phase in parts.phases].count("forward") == 1


def test_what_would_be_compiled_is_run_as_it_is_written_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was compiled")

    monkeypatch.setattr(torch._dynamo.convert_frame, "_compile", refuse)
    eager, compiled = (follow(make_tiny_task(), find_loop(name)) for name in ("eager", "compile+compile_optimizer"))

    assert compiled.ran_eagerly
    assert not eager.ran_eagerly
    assert bytes_at_end(compiled, "forward") == bytes_at_end(eager, "forward")


def test_a_driver_that_takes_the_step_over_is_skipped_with_a_reason() -> None:
    with pytest.raises(Skip, match="replays captured work: a replay allocates nothing"):
        follow(make_tiny_task(), Loop("whole", EAGER.base, (Technique("whole", "", rank=95, driver=Driver),)))


def test_a_step_that_names_no_phase_is_none() -> None:
    def step(task: Task, inputs: Any, targets: Any) -> Any:
        yield 3

    with pytest.raises(BadStep, match="3, which is no phase"):
        follow(make_tiny_task(), Loop("odd", step))
