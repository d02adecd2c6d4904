"""Scripts as sides, played by small programs that speak the hooks' protocol without torch."""

import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from loopmark.bench.errors import BadInput, NotComparable
from loopmark.bench.measure.clock import LappedBlock
from loopmark.bench.measure.watching import launched_script, scripts
from loopmark.bench.measure.watching.launched_script import LaunchedScript, Script
from loopmark.bench.measure.watching.loopmark_hooks import FORWARD, PHASES
from loopmark.bench.measure.watching.scripts import ScriptEnded, ScriptProcess, make_rivals, shared_writing

PLAYER = f"""
import json, os, socket, subprocess, sys, time

FACTS = dict(
    parameters=3, device="cpu", threads=1, torch="2", cuda=None, python="3", argv=["train.py"], rank=None, pid=1
)
taken = 1

def say(**answer):
    file.write(json.dumps(dict(facts=FACTS, samples=8, memory=1e6, blocks=[]) | answer) + "\\n")
    file.flush()

def block(lapped, steps, loss=1.0):
    host = [0.0] * {len(PHASES)}
    host[{FORWARD}] = 0.02 * steps * bool(lapped)
    seconds = 0.02 * steps
    return dict(lapped=lapped, seconds=seconds, device_seconds=float("nan"), step=taken - 1, host=host,
                device=[float("nan")] * len(host), loss=loss if lapped else None)

def play(most=10**9, loss=1.0):
    global taken, file
    link = socket.socket(socket.AF_UNIX)
    link.connect(os.environ["LOOPMARK_TURNS"].replace("@", chr(0)))
    file = link.makefile("rw")
    say()
    for request in file:
        blocks = []
        for lapped, steps in json.loads(request)["blocks"]:
            taken += steps
            if taken > most:
                say(ended=most)
                return
            if lapped is not None:
                blocks.append(block(lapped, steps, loss))
        say(blocks=blocks)
"""

Launch = Callable[..., ScriptProcess]


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    """Launches programs, in a folder; nothing of them is left in the end."""
    monkeypatch.setattr(scripts, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(launched_script, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(launched_script, "GRACE_SECONDS", 0.5)
    launches, started = tmp_path / "launches", list[ScriptProcess]()
    launches.mkdir()
    monkeypatch.setattr(scripts, "kept", lambda _: "")

    def start(program: str, *words: str, name: str = "base", limit: float = 20.0) -> ScriptProcess:
        (tmp_path / f"{name}.py").write_text(PLAYER + program)
        command = sys.executable, f"{name}.py", *words
        started.append(ScriptProcess(name, Script(command, {}, tmp_path), launches, lambda: None))
        return started[-1].within(limit)

    yield start
    for process in started:
        process.close()
    assert not list(launches.iterdir())
    mark = str(launches)
    assert not [one for one in psutil.process_iter(["environ"]) if mark in str(one.info["environ"])]


def started(process: ScriptProcess) -> ScriptProcess:
    process.set_up(with_hash=False)
    process.warm(ceiling_seconds=0.0)
    return process


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_turn_has_a_block_with_laps_and_one_without(launch: Launch) -> None:
    process = launch("play()")
    ready = process.set_up(with_hash=False)
    warm = process.warm(ceiling_seconds=0.0)
    (_, first, _), (at, second, _) = process.take_turn(order=(True, False), steps=4, own_processes=2).blocks
    assert (ready.parameters, process.batch_size, process.workload) == (3, 8, "train.py")
    assert warm.phases == ("forward",)
    assert warm.step_seconds == pytest.approx(0.02)
    assert isinstance(first, LappedBlock)
    assert (first.phases, first.host.tolist(), first.losses.tolist()) == (("forward",), [[pytest.approx(0.02)]], [1.0])
    assert not isinstance(second, LappedBlock)
    assert (second.steps, second.seconds) == (4, pytest.approx(0.08))
    assert at == process.finish().steps == 1 + len(warm.warm_up.seconds) + 1 + 4 + 4 - 1


def test_a_loss_that_is_not_finite_reaches_the_comparison(launch: Launch) -> None:
    process = launch("play(loss=float('nan'))")
    process.set_up(with_hash=False)
    assert all(map(math.isnan, process.warm(ceiling_seconds=0.0).losses))


def test_a_script_that_ends_too_soon_tells_its_steps(launch: Launch) -> None:
    process = started(launch("play(most=25)"))
    with pytest.raises(ScriptEnded, match="base: the script ended after 25 steps, within a block; give it more steps"):
        for _ in range(3):
            process.take_turn(order=(True, False), steps=5, own_processes=2)


def test_a_script_that_fails_tells_its_status_and_last_line(launch: Launch) -> None:
    process = started(launch("play(most=12)\nprint('out of luck')\nsys.exit(7)"))
    with pytest.raises(BadInput, match=r"base: the process exited with code 7 .*; its log ends: out of luck$"):
        process.take_turn(order=(True, False), steps=5, own_processes=2)


def test_a_script_without_a_step_within_the_limit_is_ended(launch: Launch) -> None:
    process = launch("time.sleep(60)", limit=0.2)
    with pytest.raises(BadInput, match=r"base: took no step within 0 s; --limit allows more"):
        process.set_up(with_hash=False)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("true",), "the command started no Python that loads Loopmark's hooks"),
        ((sys.executable, "-c", "print('hello')"), "no Python process of the command imported torch, .*: hello"),
        ((sys.executable, "-c", "1 / 0"), "exited with code 1 .*ZeroDivisionError.*; no Python process"),
        (("no-such-command",), "cannot start no-such-command"),
    ],
)
def test_a_command_that_takes_no_step_is_refused_in_one_line(
    command: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "kept", lambda _: "")
    with pytest.raises(BadInput, match=f"^head: .*{said}") as caught:
        ScriptProcess("head", Script(command, {}, tmp_path), tmp_path, lambda: None).set_up(with_hash=False)
    assert "\n" not in str(caught.value)


LOCK = """
import fcntl
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
play()
"""
REFUSED = """
try:
    os.mkdir(sys.argv[1])
except OSError:
    sys.exit("another one is running")
import atexit, signal
atexit.register(os.rmdir, sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
play()
"""


@pytest.mark.parametrize(
    ("program", "manner"), [(LOCK, "takes no step"), (REFUSED, r"ended \(another one is running\)")]
)
@pytest.mark.parametrize("first", ["base", "head"])
def test_a_side_that_the_other_one_holds_up_is_named(
    program: str, manner: str, first: str, launch: Launch, tmp_path: Path
) -> None:
    second = {"base": "head", "head": "base"}[first]
    holder = launch(program, str(tmp_path / "held"), name=first)
    wait_until(holder.waits)
    blocked = launch(program, str(tmp_path / "held"), name=second)
    make_rivals(holder, blocked)
    with pytest.raises(NotComparable, match=f"^{second} {manner} while {first} waits.*--sequential"):
        for process in (holder, blocked):
            process.set_up(with_hash=False)


def test_a_side_that_is_idle_for_long_by_itself_is_waited_for(launch: Launch) -> None:
    quick, slow = launch("play()"), launch("time.sleep(1.5)\nplay()", name="head")
    make_rivals(quick, slow)
    for process in (quick, slow):
        process.set_up(with_hash=False)
    assert started(quick).take_turn(order=(True, False), steps=1, own_processes=2).blocks


SECOND = """
if os.fork() == 0:
    time.sleep(0.3)
    second = socket.socket(socket.AF_UNIX)
    second.connect(os.environ["LOOPMARK_TURNS"].replace("@", chr(0)))
    time.sleep(60)
play()
"""


def test_two_training_processes_without_a_rank_are_refused(launch: Launch) -> None:
    process = started(launch(SECOND))
    with pytest.raises(BadInput, match="base: two of its processes train"):
        for _ in range(1000):
            process.take_turn(order=(True, False), steps=1, own_processes=2)
            time.sleep(0.01)


def test_its_children_rest_while_it_waits(launch: Launch) -> None:
    process = started(launch("child = subprocess.Popen(['sleep', '60'])\nplay()"))
    process.take_turn(order=(True, False), steps=1, own_processes=2)
    assert process._launched.pid is not None
    (child,) = psutil.Process(process._launched.pid).children()
    wait_until(lambda: child.status() == psutil.STATUS_STOPPED)
    process._launched.wake()
    wait_until(lambda: child.status() != psutil.STATUS_STOPPED)


STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "60"], start_new_session=True)
play()
time.sleep(60)
"""


def test_a_script_that_ignores_signals_and_a_child_that_left_its_group_are_ended(launch: Launch) -> None:
    started(launch(STUBBORN)).close()  # the fixture looks for what is left


def test_each_launch_has_a_new_folder_where_the_command_asks_for_one(launch: Launch, tmp_path: Path) -> None:
    process = started(launch("open(sys.argv[1] + '/mine', 'w').close()\nplay()", "{out}"))
    (written,) = tmp_path.rglob("mine")
    process.close()
    assert not written.parent.exists()


def test_a_side_s_variables_reach_its_script(tmp_path: Path) -> None:
    script = Script((sys.executable, "-c", "import os; print(os.environ['A'], os.environ['PYTHONPATH'])"), {}, tmp_path)
    script = Script(script.command, {"A": "b c", "PYTHONPATH": "/own"}, tmp_path)
    launched = LaunchedScript("base", script, tmp_path)
    assert launched.status(seconds=20) == 0
    said = launched.log.read_text()
    launched.close()
    assert re.fullmatch(r"b c \S+site:/own\n", said)


def test_files_that_both_sides_may_write_are_named(tmp_path: Path) -> None:
    def warned(*commands: str) -> list[str]:
        return shared_writing([Script((command,), {}, tmp_path) for command in commands], moment)

    old, moment = tmp_path / "old", time.time()
    old.touch()
    os.utime(old, (moment - 10, moment - 10))
    assert warned("a", "b") == []
    for name in ("one", "two", "three"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (moment + 1, moment + 1))
    (warning,) = warned("a", "b")
    assert "one, three and 1 more" in warning
    assert warned("a", "b {out}") == []


TRAINS = """
import os, signal, sys, torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
for step in range(100_000):
    optimizer.zero_grad()
    loss = model(torch.randn(16, 8)).mean() * 0 + step
    loss.backward()
    optimizer.step()
"""


def test_a_real_script_takes_its_turns_by_its_hooks(tmp_path: Path) -> None:
    (tmp_path / "trains.py").write_text(TRAINS)
    process = ScriptProcess("base", Script((sys.executable, "trains.py"), {}, tmp_path), tmp_path, lambda: None)
    try:
        ready = process.within(60).set_up(with_hash=False)
        warm = process.warm(ceiling_seconds=0.0)
        turns = [process.take_turn(order=order, steps=3, own_processes=2) for order in ((True, False), (False, True))]
        (begin, first, _), (_, second, _) = turns[0].blocks
        (_, _, _), (last, fourth, _) = turns[1].blocks
    finally:
        process.close()
    assert (ready.parameters, process.batch_size, process.workload, process.device) == (81, 16, "trains.py", "cpu")
    assert {"zero_grad", "forward", "loss", "backward", "optimizer"} <= {*warm.phases}
    assert isinstance(first, LappedBlock)
    assert isinstance(fourth, LappedBlock)
    assert first.host.sum() * 3 == pytest.approx(first.seconds, rel=1e-3)
    assert (second.steps, math.isnan(second.device_seconds)) == (3, True)
    # The number of a block's last step, which is its loss; after it, a block, an uncounted step and two blocks.
    assert last == begin + 3 + 1 + 3 + 3
    assert (first.losses.tolist(), fourth.losses.tolist()) == ([begin], [last])


def test_only_the_first_rank_takes_turns_and_a_script_ends_with_its_comparison(tmp_path: Path) -> None:
    (tmp_path / "ranks.py").write_text(
        "import os\nos.environ['RANK'] = '1'\nif os.fork(): os.environ['RANK'] = '0'\n" + TRAINS
    )
    launched = LaunchedScript("base", Script((sys.executable, "ranks.py"), {}, tmp_path), tmp_path)
    try:
        answer = launched.answer(60)
        assert answer is not None
        assert answer["facts"]["rank"] == 0
        assert not launched.is_second()
        assert launched._link is not None
        launched._link.close()  # as if Loopmark were killed
        assert launched.status(seconds=20) == -signal.SIGTERM
    finally:
        launched.close()
