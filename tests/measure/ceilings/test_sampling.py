"""The device's stopwatches on a simulated device, which works off a queue while the host continues."""

from dataclasses import dataclass, field

import pytest
import torch

from loopmark.bench.measure.ceilings.sampling import (
    HOLD_CYCLES,
    QUEUE_LAUNCHES,
    EventStopwatch,
    HostStopwatch,
    QueueStopwatch,
)

CUDA = torch.device("cuda:0")
HERTZ = 2e9


@dataclass
class MadeUpDevice:
    """Host and device, each with its own time."""

    blocking: bool = False
    """True if each launch waits for its end, as with CUDA_LAUNCH_BLOCKING."""
    host: float = 0.0
    device: float = 0.0
    sleeps: list[int] = field(default_factory=list)

    def now(self) -> float:
        return self.host

    def enqueue(self, host_seconds: float, device_seconds: float) -> None:
        self.host += host_seconds
        self.device = max(self.device, self.host) + device_seconds
        if self.blocking:
            self.synchronize()

    def sleep(self, cycles: int) -> None:
        self.sleeps.append(cycles)
        self.enqueue(0.0, cycles / HERTZ)

    def synchronize(self, _: object = None) -> None:
        self.host = max(self.host, self.device)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> MadeUpDevice:
    made_up = MadeUpDevice()

    class Event:
        def __init__(self, enable_timing: bool = False) -> None:
            assert enable_timing

        def record(self) -> None:
            self.reached = max(made_up.device, made_up.host)

        def query(self) -> bool:
            return made_up.host >= self.reached

        def elapsed_time(self, later: "Event") -> float:
            return (later.reached - self.reached) * 1e3

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", made_up.sleep)
    monkeypatch.setattr(torch.cuda, "synchronize", made_up.synchronize)
    return made_up


def test_events_tell_the_devices_time_and_not_the_hosts(made_up: MadeUpDevice) -> None:
    stopwatch = EventStopwatch(CUDA)
    assert stopwatch.seconds(lambda: made_up.enqueue(1e-6, 2e-3), 10) == pytest.approx(20e-3, rel=1e-3)


def test_work_of_before_does_not_count(made_up: MadeUpDevice) -> None:
    made_up.enqueue(0.0, 5.0)
    assert EventStopwatch(CUDA).seconds(lambda: made_up.enqueue(1e-6, 2e-3), 1) == pytest.approx(2e-3, rel=1e-3)


@pytest.mark.parametrize(("by_host", "each"), [(True, 4e-6), (False, 1.5e-6)])
@pytest.mark.parametrize("launches", [1, QUEUE_LAUNCHES, 3 * QUEUE_LAUNCHES + 7])
def test_host_and_device_are_told_apart_whichever_is_slower(
    made_up: MadeUpDevice, by_host: bool, each: float, launches: int
) -> None:
    stopwatch = QueueStopwatch(CUDA, by_host=by_host, now=made_up.now)
    assert stopwatch.seconds(lambda: made_up.enqueue(4e-6, 1.5e-6), launches) == pytest.approx(each * launches)


def test_a_device_that_wakes_too_early_is_held_longer(made_up: MadeUpDevice) -> None:
    stopwatch = QueueStopwatch(CUDA, by_host=False, now=made_up.now)
    slow_to_enqueue = HOLD_CYCLES / HERTZ / 100  # 256 of them outlast the hold
    seconds = stopwatch.seconds(lambda: made_up.enqueue(slow_to_enqueue, 1e-6), QUEUE_LAUNCHES)
    assert seconds == pytest.approx(QUEUE_LAUNCHES * 1e-6)
    assert made_up.sleeps == [HOLD_CYCLES, 2 * HOLD_CYCLES, 4 * HOLD_CYCLES]
    stopwatch.seconds(lambda: made_up.enqueue(slow_to_enqueue, 1e-6), QUEUE_LAUNCHES)
    assert made_up.sleeps[-1] == 4 * HOLD_CYCLES  # it has learnt the longer hold


def test_where_every_launch_blocks_there_is_no_queue_to_time(made_up: MadeUpDevice) -> None:
    made_up.blocking = True
    with pytest.raises(RuntimeError, match="could not be held"):
        QueueStopwatch(CUDA, by_host=True, now=made_up.now).seconds(lambda: made_up.enqueue(4e-6, 1e-6), 10)


def test_the_hosts_stopwatch_counts_every_operation() -> None:
    made_up = MadeUpDevice()
    stopwatch = HostStopwatch(made_up.now)
    assert stopwatch.seconds(lambda: made_up.enqueue(0.25, 0.0), 8) == 2.0
