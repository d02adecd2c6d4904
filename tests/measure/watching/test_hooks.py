"""The hooks of a watched Python: the phases of each step, on a clock that the training itself sets."""

import gc
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

from loopmark.bench.measure.watching import loopmark_hooks as hooks
from loopmark.bench.measure.watching.loopmark_hooks import Recorder
from loopmark.bench.measure.watching.watched import WatchedProcesses

STEPS = 30
"""Steps of a training here: some blocks with laps, some without."""


class Clock:
    """Stands until the training says that time passes."""

    def __init__(self) -> None:
        self.milliseconds = 0

    def __call__(self) -> float:
        return self.milliseconds / 1000

    def passes(self, milliseconds: int) -> None:
        self.milliseconds += milliseconds


class Watch:
    """The recorder, its clock, and what it saw."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock, self.folder = clock, folder
        self.recorder = Recorder(str(folder))

    def rows(self) -> pd.DataFrame:
        self.clock.passes(1000)
        self.recorder.finish()
        assert self.recorder.error is None
        return WatchedProcesses(self.folder).poll()[0].rows()

    def lapped(self) -> pd.DataFrame:
        rows = self.rows()
        return rows[(rows["lapped"] == 1) & (rows["counts"] == 1)]

    def steps(self) -> list[dict[str, int]]:
        """The milliseconds of the phases of each step with laps; phases that take no time are left out."""
        found = [
            {phase: round(1000 * seconds) for phase, seconds in zip(hooks.PHASES, row, strict=True) if seconds}
            for row in self.lapped()[list(hooks.PHASES)].to_numpy()
        ]
        assert len(found) > STEPS // 4
        return found

    def step(self) -> dict[str, int]:
        """The phases of a step, where all are alike."""
        steps = self.steps()
        assert steps == [steps[0]] * len(steps)
        return steps[0]


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    clock, zero_grad = Clock(), torch.optim.Optimizer.zero_grad

    def zero_grad_of_1_ms(optimizer: torch.optim.Optimizer, set_to_none: bool = True) -> None:
        clock.passes(1)
        zero_grad(optimizer, set_to_none)

    monkeypatch.setattr(hooks, "clock", clock)
    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", zero_grad_of_1_ms)
    watch = Watch(tmp_path, clock)
    watch.recorder.install()
    yield watch
    watch.recorder.uninstall()


class Late(torch.autograd.Function):
    """Its backward pass takes 5 ms."""

    clock: Clock

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        Late.clock.passes(5)
        return grads[0]


class Net(nn.Module):
    """A forward pass of 3 ms, and a backward pass of 5 ms."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 1)
        self.clock = Late.clock = clock

    def forward(self, x: Tensor) -> Tensor:
        self.clock.passes(3)
        late: Tensor = Late.apply(self.inner(x))
        return late


class Update(torch.optim.SGD):
    """An update of 2 ms."""

    def __init__(self, module: nn.Module, clock: Clock) -> None:
        super().__init__(module.parameters(), lr=1e-3)
        self.clock = clock

    def step(self, closure: Any = None) -> Any:
        self.clock.passes(2)
        return super().step(closure)


class Rows(Dataset[Tensor]):
    """Rows that each take 1 ms."""

    def __init__(self, clock: Clock, rows: int = 8) -> None:
        self.clock, self.rows = clock, rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> Tensor:
        self.clock.passes(1)
        return torch.ones(4)


BATCH = torch.ones(2, 4)
PASSES = {"zero_grad": 1, "forward": 3, "loss": 4, "backward": 5, "optimizer": 2}


def loss_of(watch: Watch, predictions: Tensor) -> Tensor:
    """A loss of 4 ms."""
    watch.clock.passes(4)
    return predictions.pow(2).mean()


def train(
    watch: Watch, model: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, steps: int = STEPS
) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(watch, model(BATCH)).backward()
        optimizer.step()


def placed() -> list[object]:
    """All places of torch that hold hooks or wrappers."""
    optim, loading = sys.modules["torch.optim.optimizer"], sys.modules["torch.utils.data.dataloader"]
    graph = vars(torch.cuda.CUDAGraph)
    return [
        dict(optim._global_optimizer_pre_hooks), dict(optim._global_optimizer_post_hooks),
        torch.optim.Optimizer.__dict__["zero_grad"], torch.autograd.backward, torch.save,
        loading._BaseDataLoaderIter.__dict__["__next__"], loading.DataLoader.__dict__["__iter__"],
        *(graph.get(name) for name in ("capture_begin", "capture_end", "replay")), list(gc.callbacks),
    ]  # fmt: skip


# Which phases


def test_a_step_of_a_plain_loop_has_the_phases_of_its_lines(watch: Watch) -> None:
    model = Net(watch.clock)
    optimizer, loader = Update(model, watch.clock), DataLoader(Rows(watch.clock, 2 * STEPS), batch_size=2)
    for batch in loader:
        watch.clock.passes(6)  # moving the batch
        optimizer.zero_grad()
        loss_of(watch, model(batch)).backward()
        watch.clock.passes(7)  # clipping
        optimizer.step()
        watch.clock.passes(8)  # a schedule and a log
    others = {"other before forward": 6, "other before optimizer": 7, "other after optimizer": 8}
    assert watch.step() == {"data": 2, **PASSES, **others}


def test_phases_add_up_to_the_step_and_steps_to_the_training(watch: Watch) -> None:
    model = Net(watch.clock)
    train(watch, model, Update(model, watch.clock))
    rows = watch.rows()
    lapped = rows[(rows["lapped"] == 1) & (rows["counts"] == 1)]
    assert lapped[list(hooks.PHASES)].sum(axis=1).to_numpy() == pytest.approx(lapped["seconds"].to_numpy())
    assert rows["seconds"].to_numpy() == pytest.approx(0.015)
    assert rows["ended"].diff().dropna().to_numpy() == pytest.approx(0.015)
    assert rows["step"].diff().dropna().eq(1).all()


def test_a_step_without_laps_has_its_time_and_no_phases(watch: Watch) -> None:
    model = Net(watch.clock)
    train(watch, model, Update(model, watch.clock))
    plain = watch.rows().query("lapped == 0")
    assert len(plain) > STEPS // 4
    assert plain[list(hooks.PHASES)].isna().all(axis=None)


def test_blocks_with_and_without_laps_balance_in_each_quad(watch: Watch) -> None:
    model = Net(watch.clock)
    train(watch, model, Update(model, watch.clock), 200)
    rows = watch.rows()
    blocks = rows.groupby("block")["lapped"].first().to_numpy()
    quads = [tuple(blocks[at : at + 4]) for at in range(0, min(len(blocks) - 3, 4 * hooks.FULL_QUADS), 4)]
    assert len(quads) > 10
    assert set(quads) <= {(1, 0, 0, 1), (0, 1, 1, 0)}


def test_accumulated_passes_are_one_step(watch: Watch) -> None:
    model = Net(watch.clock)
    optimizer, loader = Update(model, watch.clock), DataLoader(Rows(watch.clock, 6 * STEPS), batch_size=2)
    for number, batch in enumerate(loader, 1):
        loss_of(watch, model(batch)).backward()
        if number % 3 == 0:
            optimizer.step()
            optimizer.zero_grad()
    rows = watch.lapped()
    assert watch.step() == {"data": 6, "zero_grad": 1, "forward": 9, "loss": 12, "backward": 15, "optimizer": 2}
    assert set(rows["samples"]) == {6}


def test_two_optimizers_after_one_backward_pass_are_one_step(watch: Watch) -> None:
    model, other = Net(watch.clock), Net(watch.clock)
    optimizers = [Update(model, watch.clock), Update(other, watch.clock)]
    for _ in range(STEPS):
        loss_of(watch, model(BATCH) + other(BATCH)).backward()
        for optimizer in optimizers:
            optimizer.step()
    assert watch.step() == {"forward": 6, "loss": 4, "backward": 10, "optimizer": 4}


def test_two_networks_that_train_in_turns_take_turns_in_steps(watch: Watch) -> None:
    judge, maker = Net(watch.clock), Net(watch.clock)
    judges, makes = Update(judge, watch.clock), Update(maker, watch.clock)
    for _ in range(STEPS):
        loss_of(watch, judge(BATCH)).backward()
        judges.step()
        loss_of(watch, maker(BATCH) + judge(BATCH)).backward()
        makes.step()
    short = {"forward": 3, "loss": 4, "backward": 5, "optimizer": 2}
    long = {"forward": 6, "loss": 4, "backward": 10, "optimizer": 2}
    steps = watch.steps()
    assert {tuple(step.items()) for step in steps} == {tuple(short.items()), tuple(long.items())}


def test_the_passes_in_a_closure_are_phases_of_its_step(watch: Watch) -> None:
    model = Net(watch.clock)
    optimizer = Update(model, watch.clock)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(watch, model(BATCH))
        loss.backward()
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)
    assert watch.step() == {"zero_grad": 1, "forward": 3, "backward": 5, "optimizer": 6}


def test_lbfgs_takes_one_step_for_all_passes_of_its_search(watch: Watch) -> None:
    model = Net(watch.clock)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1e-3, max_iter=2, tolerance_grad=0, tolerance_change=0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(watch, model(BATCH))
        loss.backward()
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)
    assert watch.step() == {"zero_grad": 2, "forward": 6, "backward": 10, "optimizer": 8}
    assert len(watch.rows()) > STEPS - 5


def test_only_the_outermost_module_is_the_forward_pass(watch: Watch) -> None:
    model = nn.Sequential(Net(watch.clock), nn.Linear(1, 4), Net(watch.clock))
    train(watch, model, Update(model, watch.clock))
    assert watch.step() == {**PASSES, "forward": 6, "backward": 10}
    assert watch.recorder.roots == [model]


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_recomputed_forward_pass_is_part_of_the_backward_pass(watch: Watch, reentrant: bool) -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net(watch.clock)

        def forward(self, x: Tensor) -> Any:
            return checkpoint(self.net, x.clone().requires_grad_(), use_reentrant=reentrant)

    model = Saving()
    train(watch, model, Update(model, watch.clock))
    assert watch.step() == {**PASSES, "backward": 8}


def test_a_pass_without_gradients_is_validation_in_eval_mode_and_else_inference(watch: Watch) -> None:
    model = Net(watch.clock)
    optimizer = Update(model, watch.clock)
    for _ in range(STEPS):
        train(watch, model, optimizer, 1)
        with torch.no_grad():
            model(BATCH)
            watch.clock.passes(1)
            model.eval()(BATCH)
        model.train()
    assert watch.step() == {**PASSES, "inference": 3, "validation": 4}


def test_the_batches_of_a_validation_are_no_input_wait_and_no_samples(watch: Watch) -> None:
    model = Net(watch.clock)
    optimizer, held = Update(model, watch.clock), DataLoader(Rows(watch.clock, 4), batch_size=4)
    loader = DataLoader(Rows(watch.clock, 4), batch_size=2)
    for _ in range(STEPS // 2):
        for batch in loader:
            optimizer.zero_grad()
            loss_of(watch, model(batch)).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for batch in held:
                model(batch)
        model.train()
    rows = watch.lapped()
    assert set(rows["samples"]) == {2}
    first, second = {"data": 2, "validation": 7, **PASSES}, {"data": 2, **PASSES}
    assert {tuple(sorted(step.items())) for step in watch.steps()[2:]} == {
        tuple(sorted(first.items())),
        tuple(sorted(second.items())),
    }
    evaluating = rows[rows["validation"] > 0]
    assert (evaluating["events"].astype(int) & hooks.EVALUATES).all()


def test_each_epoch_begins_with_an_event(watch: Watch) -> None:
    model = Net(watch.clock)
    optimizer, loader = Update(model, watch.clock), DataLoader(Rows(watch.clock, 10), batch_size=2)
    for _ in range(STEPS // 5):
        for batch in loader:
            loss_of(watch, model(batch)).backward()
            optimizer.step()
    rows = watch.rows()
    first = rows[(rows["events"].astype(int) & hooks.EPOCH) > 0]
    assert set(first["step"] % 5) == {0}
    assert len(first) >= STEPS // 5 - 2


def test_a_checkpoint_is_an_event_of_the_next_step(watch: Watch, tmp_path: Path) -> None:
    model = Net(watch.clock)
    optimizer = Update(model, watch.clock)
    train(watch, model, optimizer, 10)
    torch.save({"epoch": 1}, tmp_path / "last.pt")
    train(watch, model, optimizer, 10)
    rows = watch.rows()
    assert list(rows["step"][(rows["events"].astype(int) & hooks.SAVES) > 0]) == [10]


def test_a_scaled_loss_has_the_phases_of_a_plain_one(watch: Watch) -> None:
    model, scaler = Net(watch.clock), torch.amp.GradScaler("cpu", init_scale=2.0)  # type: ignore[attr-defined]
    optimizer = Update(model, watch.clock)
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(watch, model(BATCH))).backward()
        watch.clock.passes(6)
        scaler.step(optimizer)
        scaler.update()
    assert watch.step() == {**PASSES, "other before optimizer": 6}


def test_a_pass_whose_update_the_scaler_skips_belongs_to_the_next_step(watch: Watch) -> None:
    model, scaler = Net(watch.clock), torch.amp.GradScaler("cpu", init_scale=2.0)  # type: ignore[attr-defined]
    optimizer = Update(model, watch.clock)
    for number in range(STEPS):
        loss = loss_of(watch, model(BATCH))
        scaler.scale(loss * (math.inf if number == STEPS // 2 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert len(watch.rows()) + watch.rows()["step"].iloc[0] == STEPS - 1
    assert sorted(watch.rows()["seconds"].round(6).unique()) == [0.015, 0.028]


def test_autograd_backward_is_the_backward_pass(watch: Watch) -> None:
    model = Net(watch.clock)
    optimizer = Update(model, watch.clock)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward([loss_of(watch, model(BATCH))])
        optimizer.step()
    assert watch.step() == PASSES


def test_a_model_that_comes_later_is_found(watch: Watch) -> None:
    first = Net(watch.clock)
    train(watch, first, Update(first, watch.clock), 5)
    second = Net(watch.clock)
    train(watch, second, Update(second, watch.clock))
    assert watch.steps()[-1] == PASSES


def test_a_loss_that_is_infinite_is_kept_as_such(watch: Watch) -> None:
    model = Net(watch.clock)
    optimizer = Update(model, watch.clock)
    for number in range(STEPS):
        (loss_of(watch, model(BATCH)) * (math.nan if number > STEPS // 2 else 1.0)).backward()
        optimizer.zero_grad()
        optimizer.step()
    losses = watch.rows()["loss_seen"].dropna()
    assert math.isfinite(losses.iloc[0])
    assert math.isinf(losses.iloc[-1])


# Compiled code: on the real clock, with a backend that compiles nothing


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(tmp_path, Clock())
    torch._dynamo.reset()  # type: ignore[no-untyped-call]
    watch.recorder.install()
    yield watch
    watch.recorder.uninstall()


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def train_compiled(model: nn.Module, step: Callable[[], Any] | None = None) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(400):
        optimizer.zero_grad()
        model(BATCH).pow(2).mean().backward()
        (step or optimizer.step)()


@pytest.mark.parametrize("in_place", [False, True])
def test_the_forward_pass_of_a_compiled_module_is_seen_and_not_compiled_anew(compiled: Watch, in_place: bool) -> None:
    class Plain(nn.Linear):  # of torch's own modules compiled in place, torch compiles nothing
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    model: nn.Module = Plain(4, 1)
    if in_place:
        model.compile(backend="eager")
        original = model._compiled_call_impl
    else:
        model = torch.compile(model, backend="eager")  # type: ignore[assignment]
    before = graphs()
    train_compiled(model)
    rows = compiled.lapped()
    assert graphs() == before + 1
    assert (rows["forward"] > 0).all()
    assert (rows["backward"] > 0).all()
    assert len(rows) > 50
    compiled.recorder.uninstall()
    if in_place:
        assert model._compiled_call_impl is original


def test_a_compiled_optimizer_step_ends_the_step(compiled: Watch) -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    step = torch.compile(optimizer.step, backend="eager")
    for _ in range(400):
        optimizer.zero_grad()
        model(BATCH).pow(2).mean().backward()
        step()
    rows = compiled.rows()
    assert rows["step"].iloc[-1] + 1 >= 398
    assert (compiled.lapped()["forward"] > 0).all()


# A device, by stand-ins whose kernels take twice as long as their launches


class Event:
    """A CUDA event, at twice the time of the host's clock."""

    clock: Clock

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = 2 * Event.clock.milliseconds

    def query(self) -> bool:
        return self.at + 90 < 2 * Event.clock.milliseconds  # the device is three steps behind

    def elapsed_time(self, other: "Event") -> float:
        return other.at - self.at


class Graph:
    def capture_begin(self) -> None: ...
    def capture_end(self) -> None: ...

    def replay(self) -> None:
        Event.clock.passes(9)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, watch: Watch) -> Watch:
    """The recorder, which finds its model on a GPU."""
    watch.recorder.uninstall()
    Event.clock = watch.clock
    learn = Recorder.learn

    def learn_on_cuda(recorder: Recorder) -> None:
        learn(recorder)
        recorder.device = torch.device("cuda")

    fakes = {"Event": Event, "CUDAGraph": Graph, "max_memory_allocated": lambda _: 5.0}
    for name, fake in {**fakes, "is_current_stream_capturing": lambda: False}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(Recorder, "learn", learn_on_cuda)
    watch.recorder.install()
    return watch


def test_the_device_has_phases_of_its_own_by_events_that_are_read_when_it_is_done(device: Watch) -> None:
    model = Net(device.clock)
    train(device, model, Update(model, device.clock), 60)
    rows = device.lapped().dropna(subset="device_seconds")
    assert len(rows) > 8
    for phase, milliseconds in PASSES.items():
        assert rows[f"device {phase}"].to_numpy() == pytest.approx(2 * milliseconds / 1000)
    assert rows["device_seconds"].to_numpy() == pytest.approx(2 * rows["seconds"].to_numpy())
    assert device.rows()["device_seconds"].dropna().to_numpy() == pytest.approx(0.030)


def test_a_dropped_block_is_no_part_of_the_next_steps_device_time(
    device: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "MOST_ROWS", 50)
    model = Net(device.clock)
    train(device, model, Update(model, device.clock), 600)
    rows = device.rows()
    assert rows["step"].diff().max() > 1
    assert rows["device_seconds"].dropna().to_numpy() == pytest.approx(0.030)


def test_a_replayed_graph_that_captured_an_update_is_a_step(device: Watch) -> None:
    model = Net(device.clock)
    optimizer = Update(model, device.clock)
    train(device, model, optimizer, 3)  # as before a capture
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin()
    train(device, model, optimizer, 1)
    graph.capture_end()
    for _ in range(STEPS):
        graph.replay()
    rows = device.lapped()
    assert set(rows[rows["graph replay"] > 0]["graph replay"].round(6)) == {0.009}
    assert device.rows()["step"].iloc[-1] > STEPS


# Changes nothing


def test_uninstalling_leaves_torch_and_the_model_as_they_were(watch: Watch) -> None:
    watch.recorder.uninstall()
    before, fresh = placed(), Recorder(str(watch.folder))
    fresh.install()
    assert [old is new for old, new in zip(before, placed(), strict=True)].count(False) >= 7
    model = Net(watch.clock)
    train(watch, model, Update(model, watch.clock), 10)
    fresh.uninstall()
    assert placed() == before
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_a_watched_training_ends_with_the_weights_of_a_plain_one(watch: Watch) -> None:
    def weights() -> list[Tensor]:
        torch.manual_seed(0)
        model = Net(watch.clock)
        loader = DataLoader(Rows(watch.clock, 40), batch_size=2, shuffle=True)
        optimizer = Update(model, watch.clock)
        for batch in loader:
            model(batch + torch.randn(2, 4)).pow(2).mean().backward()
            optimizer.step()
        return [parameter.detach() for parameter in model.parameters()]

    seen = weights()
    watch.recorder.uninstall()
    assert all(torch.equal(one, other) for one, other in zip(seen, weights(), strict=True))


@pytest.mark.parametrize("place", ["learn", "choose", "keep", "flush", "evaluate"])
def test_an_error_in_a_hook_ends_the_watching_and_never_reaches_the_script(
    watch: Watch, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("broken")

    original = getattr(Recorder, place)
    wrapped = hooks._survives(broken) if hasattr(original, "__wrapped__") else broken
    monkeypatch.setattr(Recorder, place, wrapped)
    model = Net(watch.clock)
    optimizer = Update(model, watch.clock)
    for _ in range(60):
        train(watch, model, optimizer, 1)
        with torch.no_grad():
            model(BATCH)
    err = capsys.readouterr().err
    assert err.count("the watching ended at step") == 1
    assert "ValueError('broken')" in err
    assert not watch.recorder.handles


class Odd(dict[str, Tensor]):
    def values(self) -> Any:
        raise RuntimeError("no values")


def test_a_batch_whose_size_cannot_be_read_has_no_size(watch: Watch) -> None:
    class Takes(Net):
        def forward(self, batch: Any) -> Tensor:
            return super().forward(batch["x"])

    model = Takes(watch.clock)
    odd = Odd(x=BATCH)
    train(watch, lambda _: model(odd), Update(model, watch.clock))  # type: ignore[arg-type]
    assert watch.rows()["samples"].isna().all()


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        (BATCH, 2),
        ([BATCH, torch.ones(3)], 2),
        ({"mask": None, "x": (torch.tensor(1.0), BATCH)}, 2),
        ("text", 0),
        (torch.tensor(1.0), 0),
        ([], 0),
    ],
)
def test_the_size_of_a_batch_is_that_of_its_first_tensor(batch: object, size: int) -> None:
    assert hooks.size_of(batch, Tensor) == size


def test_passes_of_another_thread_are_not_seen(watch: Watch) -> None:
    from threading import Thread

    model, other = Net(watch.clock), nn.Linear(4, 1)
    optimizer, others = Update(model, watch.clock), torch.optim.SGD(other.parameters(), lr=1e-3)

    def aside() -> None:
        other(BATCH).sum().backward()
        others.step()

    train(watch, model, optimizer, 3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(watch, model(BATCH))
        thread = Thread(target=aside)
        thread.start()
        thread.join()
        loss.backward()
        optimizer.step()
    assert watch.step() == PASSES


def test_the_last_asked_step_interrupts_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(hooks, "clock", clock)
    watch = Watch(tmp_path, clock)
    watch.recorder.limit = 12
    watch.recorder.install()
    model = Net(clock)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(watch, model, Update(model, clock), 100)
    finally:
        watch.recorder.uninstall()
    assert watch.rows()["step"].iloc[-1] == 11


def test_a_very_long_run_keeps_only_some_of_its_blocks(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "MOST_ROWS", 100)
    model = Net(watch.clock)
    train(watch, model, Update(model, watch.clock), 2000)
    rows = watch.rows()
    assert 100 < len(rows) < 1500
    assert rows["step"].iloc[-1] > 1000


def test_the_file_of_rows_begins_with_the_facts_of_its_process(watch: Watch) -> None:
    model = Net(watch.clock)
    train(watch, model, Update(model, watch.clock))
    watch.rows()
    facts = json.loads((watch.folder / f"{os.getpid()}.rows").read_bytes().split(b"\n", 1)[0])
    assert (facts["pid"], facts["torch"], facts["device"]) == (os.getpid(), torch.__version__, "cpu")
    assert "Update" in facts["optimizers"]
