import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from loopmark.bench.measure import device_clock as clock_module
from loopmark.bench.measure.clock import BadStep, HostClock
from loopmark.bench.measure.device_clock import CudaClock, DeviceClock, GraphClock, ReplayClock, why_untimed
from loopmark.loops.cuda_graphs import GraphedPhases, GraphedStep
from loopmark.loops.loop import of_function
from loopmark.phases import phase as part

MS = 1_000_000
"""Nanoseconds per millisecond."""


class Timeline:
    """A host clock that moves only when time is spent on it."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def spend(self, milliseconds: float) -> None:
        self.now += round(milliseconds * MS)


class FakeTask:
    """A task whose batch takes ``fetch_ms`` to fetch."""

    device = torch.device("cpu")
    last_loss: torch.Tensor | None = None

    def __init__(self, host: Timeline, fetch_ms: float = 1.0) -> None:
        self._host, self._fetch_ms = host, fetch_ms

    def next_batch(self) -> tuple[int, int]:
        self._host.spend(self._fetch_ms)
        return 0, 0


def step_on(host: Timeline):
    """A step of 2 ms zero_grad, 3 ms forward, 4 ms backward, 5 ms optimizer, and 0.5 ms after its last yield."""

    def step(task, inputs, targets) -> Iterator[str]:
        host.spend(2)
        yield "zero_grad"
        host.spend(3)
        yield "forward"
        host.spend(4)
        yield "backward"
        host.spend(5)
        yield "optimizer"
        host.spend(0.5)
        task.last_loss = torch.tensor(1.25)

    return step


def host_clock(step=None) -> HostClock:
    host = Timeline()
    return HostClock(FakeTask(host), (step or step_on)(host), now=host)


def test_each_phase_gets_the_time_until_its_yield_and_the_tail_counts_for_the_last_one() -> None:
    block = host_clock().lapped(1).block()

    assert block.phases == ("data", "zero_grad", "forward", "backward", "optimizer")
    assert block.host[0] == pytest.approx([0.001, 0.002, 0.003, 0.004, 0.0055])
    assert np.isnan(block.device).all()


def test_the_phases_of_a_block_add_up_to_the_block() -> None:
    block = host_clock().lapped(7).block()

    assert block.host.shape == (7, 5)
    assert block.host.sum() == pytest.approx(block.host_seconds)
    assert block.host_seconds == pytest.approx(7 * 0.0155)


def test_a_plain_block_takes_as_long_as_a_lapped_one_when_laps_are_free() -> None:
    assert host_clock().plain(7).host_seconds == pytest.approx(7 * 0.0155)


def test_losses_are_read_step_by_step_and_missing_ones_are_nan() -> None:
    def silent(task, inputs, targets):
        yield "forward"

    assert host_clock().lapped(3).block().losses.tolist() == [1.25] * 3
    assert np.isnan(host_clock(lambda host: silent).lapped(2).block().losses).all()


def test_a_phase_that_repeats_within_a_step_is_summed() -> None:
    def in_parts(host):
        def step(task, inputs, targets):
            for _ in range(3):
                host.spend(2)
                yield "forward"
                host.spend(4)
                yield "backward"

        return step

    block = host_clock(in_parts).lapped(2).block()

    assert block.phases == ("data", "forward", "backward")
    assert block.host[1] == pytest.approx([0.001, 0.006, 0.012])


def test_a_phase_of_ones_own_is_timed_under_its_name() -> None:
    def in_parts(host: Timeline):
        def step(task, inputs, targets):
            host.spend(2)
            yield "forward"
            host.spend(5)
            yield "clip"

        return step

    block = host_clock(in_parts).lapped(1).block()

    assert block.phases == ("data", "forward", "clip")
    assert block.host[0, 2] == pytest.approx(0.005)


@pytest.mark.parametrize("yielded", ["x" * 10_000, "", " ", "a\nb", 3, None, b"forward"])
def test_something_other_than_a_name_is_refused_in_one_short_line(yielded: object) -> None:
    def step(task, inputs, targets):
        yield yielded

    with pytest.raises(BadStep, match="which is no phase; yield a name of at most 40 printable") as error:
        host_clock(lambda host: step).lapped(1).block()
    assert len(str(error.value)) < 200
    assert str(error.value).isprintable()


def test_a_step_without_a_phase_is_refused() -> None:
    def step(task, inputs, targets):
        return
        yield

    with pytest.raises(BadStep, match="yields no phase"):
        host_clock(lambda host: step).lapped(1).block()


def test_a_phase_of_some_steps_only_takes_no_time_in_the_others() -> None:
    def in_parts(host: Timeline):
        turns = itertools.count()

        def step(task, inputs, targets):
            host.spend(4)
            yield "forward"
            if next(turns) % 2:
                host.spend(6)
                yield "generator"

        return step

    block = host_clock(in_parts).lapped(2).block()

    assert block.phases == ("data", "forward", "generator")
    assert block.host[:, 1:] == pytest.approx(np.array([[0.004, 0.0], [0.004, 0.006]]))
    assert block.host.sum() == pytest.approx(block.host_seconds)


def test_an_ordinary_function_shows_the_parts_that_it_names_and_the_rest() -> None:
    def in_parts(host: Timeline):
        def step(task, inputs, targets):
            host.spend(1)
            with part("forward"):
                host.spend(10)
                with part("attention"):
                    host.spend(100)
                host.spend(20)
            host.spend(3)

        return of_function(step)

    block = host_clock(in_parts).lapped(2).block()

    times = dict(zip(block.phases, block.host[1], strict=True))
    assert times == pytest.approx({"data": 0.001, "rest": 0.004, "forward": 0.03, "attention": 0.1})


def test_a_step_that_raises_within_a_phase_leaves_none_open() -> None:
    def fails(task, inputs, targets):
        with part("forward"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        host_clock(lambda host: of_function(fails)).lapped(1)
    block = host_clock(lambda host: of_function(lambda task, inputs, targets: None)).lapped(1).block()
    assert block.phases == ("data", "rest")


def test_a_name_that_is_measured_by_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="a step cannot name a phase 'data'"):
        part("data")


class FakeDevice:
    """A device whose work the host queues; it runs later at its own pace, and events mark its own time."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.synchronisations = 0
        self.events_made = 0

    def work(self, milliseconds: float) -> None:
        self.now_ms += milliseconds

    def event(self, **options: bool) -> "FakeEvent":
        self.events_made += 1
        return FakeEvent(self)

    def synchronize(self, device=None) -> None:
        self.synchronisations += 1


class Queue(FakeDevice):
    """A device that starts each work item once the host has enqueued it and all previous items are done."""

    def __init__(self, host: Timeline) -> None:
        super().__init__()
        self._host = host

    def work(self, milliseconds: float) -> None:
        self.now_ms = max(self.now_ms, self._host.now / MS) + milliseconds

    def synchronize(self, device=None) -> None:
        super().synchronize()
        self._host.now = max(self._host.now, round(self.now_ms * MS))

    def names(self) -> SimpleNamespace:
        """The stand-in for ``torch.cuda``, with a device clock of 2 GHz."""
        return SimpleNamespace(
            Event=self.event,
            synchronize=self.synchronize,
            _sleep=lambda cycles: self.work(cycles / 2e6),
        )


class FakeEvent:
    def __init__(self, device: FakeDevice) -> None:
        self._device, self.at = device, float("nan")

    def record(self) -> None:
        self._device.work(0)
        self.at = self._device.now_ms

    def elapsed_time(self, end: "FakeEvent") -> float:
        return end.at - self.at


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    fake = FakeDevice()
    names = SimpleNamespace(Event=fake.event, synchronize=fake.synchronize, _sleep=lambda cycles: fake.work(7))
    monkeypatch.setattr(clock_module.torch, "cuda", names)
    return fake


def device_step(host: Timeline, device: FakeDevice):
    """A step that takes 1 ms a phase to enqueue, and 10, 20 and 30 ms on the device."""

    def step(task, inputs, targets):
        for phase, milliseconds in (("forward", 10), ("backward", 20), ("optimizer", 30)):
            host.spend(1)
            device.work(milliseconds)
            yield phase

    return step


def test_device_phases_come_from_events_and_host_phases_from_the_enqueueing(device: FakeDevice) -> None:
    host = Timeline()
    block = CudaClock(FakeTask(host), device_step(host, device), now=host).lapped(2).block()

    assert block.phases == ("data", "forward", "backward", "optimizer")
    assert block.device[1] == pytest.approx([0, 0.010, 0.020, 0.030])
    assert block.host[1] == pytest.approx([0.001, 0.001, 0.001, 0.001])
    assert block.device.sum() == pytest.approx(block.device_seconds) == pytest.approx(0.12)


def test_a_block_on_the_device_synchronises_before_and_after_it_and_never_within(device: FakeDevice) -> None:
    host = Timeline()
    during: list[int] = []

    def step(task, inputs, targets):
        during.append(device.synchronisations)
        yield "forward"

    clock = CudaClock(FakeTask(host), step, now=host)
    clock.lapped(5)
    clock.plain(5)

    assert during == [1] * 5 + [3] * 5
    assert device.synchronisations == 4


def test_the_events_of_a_block_are_made_once_and_used_again(device: FakeDevice) -> None:
    host = Timeline()
    clock = CudaClock(FakeTask(host), device_step(host, device), now=host)
    clock.lapped(8)
    made = device.events_made
    for _ in range(3):
        clock.lapped(8)

    assert device.events_made == made


def test_a_plain_block_on_the_device_lasts_from_its_first_event_to_its_last(device: FakeDevice) -> None:
    host = Timeline()
    block = CudaClock(FakeTask(host), device_step(host, device), now=host).plain(3)

    assert block.device_seconds == pytest.approx(3 * 0.060)


def queued_clock(monkeypatch: pytest.MonkeyPatch, host_ms: float, device_ms: float) -> CudaClock:
    """The clock of a step with these milliseconds per phase, on the host and on the device; its batch takes 1 ms."""
    host = Timeline()
    queue = Queue(host)
    monkeypatch.setattr(clock_module.torch, "cuda", queue.names())

    def step(task, inputs, targets):
        for phase in ("forward", "backward"):
            host.spend(host_ms)
            queue.work(device_ms)
            yield phase
        task.last_loss = torch.tensor(0.0)

    return CudaClock(FakeTask(host), step, now=host)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_block_after_a_step_that_does_not_count_finds_the_device_at_work(
    monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    clock = queued_clock(monkeypatch, host_ms=1.0, device_ms=20.0)

    assert clock.plain(steps).device_seconds == pytest.approx(steps * 0.040 + 0.002)  # it waited for the first kernel
    plain = clock.plain(steps, clock.lead_in)
    assert plain.device_seconds == pytest.approx(steps * 0.040)
    assert plain.host_seconds == pytest.approx(steps * 0.040, abs=0.003)
    recording = clock.lapped(steps, clock.lead_in)
    block = recording.block()
    assert recording.device_seconds == block.device_seconds == pytest.approx(steps * 0.040)
    assert block.host_seconds == pytest.approx(steps * 0.003)
    assert block.device.shape == (steps + 1, 3)
    assert block.device[0] == pytest.approx([0.001, 0.021, 0.020])
    assert block.device[-1] == pytest.approx([0, 0.020, 0.020])
    assert (block.steps, block.lead_in, len(block.losses)) == (steps, 1, steps + 1)


def test_a_device_that_waits_for_each_launch_waits_as_long_after_a_step_that_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = queued_clock(monkeypatch, host_ms=5.0, device_ms=0.1)

    assert clock.plain(1, clock.lead_in).device_seconds == pytest.approx(0.011)


def test_a_host_needs_no_such_step() -> None:
    clock = host_clock()
    assert clock.lead_in == 0
    assert clock.plain(2, 1).host_seconds == pytest.approx(2 * 0.0155)


class FakeGraphed(GraphedStep):
    """A captured step: each call copies a batch in (2 ms), then replays its marks (10 and 20 ms)."""

    def __init__(self, device: FakeDevice, captured: bool = True) -> None:
        super().__init__(lambda task, inputs, targets: iter(()))
        self._device, self.replays = device, 0
        self._events = tuple((name, FakeEvent(device)) for name in ("", "forward", "backward"))
        self.marks = self._events if captured else ()

    def __call__(self, task, inputs, targets) -> None:
        self.replays += 1
        self._device.work(2)
        for (_, event), milliseconds in zip(self._events, (0, 10 * self.replays, 20), strict=True):
            self._device.work(milliseconds)
            event.record()
        task.last_loss = torch.tensor(float(self.replays))


def test_every_replay_is_read_before_the_next_one_overwrites_it(device: FakeDevice) -> None:
    host = Timeline()
    block = GraphClock(FakeTask(host), FakeGraphed(device), now=host).lapped(3).block()

    assert block.phases == ("data", "forward", "backward")
    assert block.device[:, 1] == pytest.approx([0.010, 0.020, 0.030])
    assert block.losses.tolist() == [1, 2, 3]
    assert block.device.sum() == pytest.approx(block.device_seconds)
    assert np.isnan(block.host).all()


def test_a_graph_without_external_events_is_timed_as_a_whole(device: FakeDevice) -> None:
    host = Timeline()
    block = GraphClock(FakeTask(host), FakeGraphed(device, captured=False), now=host).lapped(1).block()

    assert block.phases == ()
    assert block.device_seconds == pytest.approx(0.032)


def test_plain_replays_run_back_to_back(device: FakeDevice) -> None:
    host = Timeline()
    graphed = FakeGraphed(device)
    GraphClock(FakeTask(host), graphed, now=host).plain(10)

    assert graphed.replays == 10
    assert device.synchronisations == 2


class FakePhases(GraphedPhases):
    """A captured step whose graphs take 10 and 20 ms, and 5 ms after its last phase. Every replay overwrites
    its loss."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(lambda task, inputs, targets: iter(()))
        self._device, self._loss = device, torch.tensor(0.0)

    def phased(self, task, inputs, targets) -> Iterator[str]:
        self._device.work(10)
        yield "forward"
        self._device.work(20)
        yield "backward"
        self._device.work(5)
        task.last_loss = self._loss.add_(1)


def test_a_graph_for_each_phase_is_timed_between_its_launches(device: FakeDevice) -> None:
    host = Timeline()
    block = ReplayClock(FakeTask(host), FakePhases(device).phased, now=host).lapped(2).block()

    assert block.phases == ("data", "forward", "backward")
    assert block.device[1] == pytest.approx([0, 0.010, 0.025])
    assert block.losses.tolist() == [1, 2]


def test_another_device_is_timed_by_torchs_own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    device, host = FakeDevice(), Timeline()
    monkeypatch.setattr(clock_module.torch, "Event", device.event)
    monkeypatch.setattr(clock_module.torch, "accelerator", SimpleNamespace(synchronize=device.synchronize))
    block = DeviceClock(FakeTask(host), device_step(host, device), now=host).lapped(2).block()

    assert block.device[1] == pytest.approx([0, 0.010, 0.020, 0.030])
    assert block.host[1] == pytest.approx([0.001, 0.001, 0.001, 0.001])
    assert device.synchronisations == 2


def test_a_device_whose_events_cannot_be_timed_tells_why() -> None:
    assert "meta" in (why_untimed("meta") or "")
