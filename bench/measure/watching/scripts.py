"""A training script as a side of a comparison: its launches take turns, block by block, as those of a loop do."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from loopmark.bench.errors import BadInput, NotComparable
from loopmark.bench.measure.answers import Finished, Ready, Turn, Warm
from loopmark.bench.measure.cgroup import text_of
from loopmark.bench.measure.clock import Block, LappedBlock
from loopmark.bench.measure.launcher import apart, side_environment
from loopmark.bench.measure.machine import describe_environment, variables_in
from loopmark.bench.measure.meters import Disturbance, ResidentMemory
from loopmark.bench.measure.pool import TICK_SECONDS, kept, manner_of_death
from loopmark.bench.measure.warmup import warm_up
from loopmark.bench.measure.watching.launched_script import OUT, LaunchedScript, Script
from loopmark.bench.measure.watching.loopmark_hooks import PHASES
from loopmark.bench.measure.watching.watched import UNDISTURBED, script_name
from loopmark.bench.records.machine import Environment
from loopmark.loops.user_code import in_brief

HELD_UP = 2.0  # a side that steps alone in less than its waiting time over this was held up by the other side
FREED_SECONDS = 20.0  # for a turn to end after the other side did
SEQUENTIAL = "--sequential compares whole launches, one after the other"


class ScriptEnded(BadInput):
    """A script that ended by itself, without an error, while more of its steps were asked for."""


class ScriptProcess:
    """A launch of a script, with the interface of ``WorkerProcess`` as far as a comparison uses it.

    Requests raise BadInput where the script fails, ends or hangs, and NotComparable where it cannot run beside its
    ``rival``, the resident launch of the other side.
    """

    def __init__(self, name: str, script: Script, folder: Path, tick: Callable[[], None]) -> None:
        self._name, self._script, self._folder, self._tick = name, script, folder, tick
        self.rival: ScriptProcess | None = None
        self._limit_seconds, self._suspects = math.inf, True
        self._launch()

    def _launch(self) -> None:
        self._launched = LaunchedScript(self._name, self._script, self._folder)
        self._facts: dict[str, Any] = {}
        self._last: dict[str, Any] = {}

    def within(self, limit_seconds: float, *, ours: bool = False) -> Self:
        """This process, whose next requests may take so long. Limits of ours do not count: scripts also validate."""
        self._limit_seconds = self._limit_seconds if ours else limit_seconds
        return self

    @property
    def workload(self) -> str:
        return script_name(self._facts)

    @property
    def device(self) -> str:
        return str(self._facts["device"])

    def set_up(self, *, with_hash: bool) -> Ready:  # noqa: ARG002 - the data of a script has none
        """Wait for the first step."""
        self._await_step()
        return Ready(self._first_seconds, None, int(self._facts["parameters"]), compiles=False, data_sha256=None)

    def warm(self, *, ceiling_seconds: float) -> Warm:
        """Take steps one by one until they are steady, and reset the peak of memory."""
        blocks: list[dict[str, Any]] = []

        def take_step() -> float:
            blocks.extend(self._blocks([(True, 1)]))
            return _block(blocks[-1], 1).seconds

        found = warm_up(take_step, ceiling_seconds)
        usual = np.median([block["host"] for block in blocks], axis=0)
        pid = self._launched.pid if self.device == "cpu" else None
        self._memory = ResidentMemory(pid) if pid else None
        if self._memory:
            self._memory.reset()
        return Warm(
            warm_up=found,
            losses=tuple(block["loss"] for block in blocks if block["loss"] is not None),
            first_step_seconds=self._first_seconds,
            compile_seconds=0.0,
            compile_cache="none",
            phases=tuple(name for name, seconds in zip(PHASES, usual, strict=True) if seconds > 0),
            memory_kind=self._memory.kind if self._memory else "device memory allocated",
            laps_count=True,
        )

    @property
    def batch_size(self) -> int | None:
        """Samples a step, as seen in the warm-up; None where they were not."""
        return int(self._last["samples"]) or None

    def take_turn(self, *, order: Sequence[bool], steps: int, own_processes: int) -> Turn:  # noqa: ARG002
        """Take one uncounted step, then a block for each of ``order``: True with laps, False without."""
        if self._launched.is_second():
            raise self._failure("two of its processes train, and no RANK tells them apart; only one may train")
        self._launched.wake()
        blocks = self._blocks([(None, 1), *((lapped, steps) for lapped in order)])
        self._launched.rest()
        timed = [(block["step"], _block(block, steps), Disturbance(**UNDISTURBED)) for block in blocks]
        return Turn(tuple(timed))

    def finish(self) -> Finished:
        told = self._last["memory"]  # NaN where it is unknown
        peak = self._memory.read() if self._memory else None if math.isnan(told) else int(told)
        kind = self._memory.kind if self._memory else "device memory allocated"
        return Finished(self._steps, peak, kind, skipped_steps=None, final_scale=None, gpu=None)

    def environment(self) -> Environment:
        """The software and settings of the script, as far as its Python tells them."""
        facts = self._facts
        found = apart(describe_environment, facts["threads"], ())
        software = {name: facts[name] for name in ("torch", "cuda", "python")}
        packages = found.packages if facts["torch"] == found.torch else {}
        settings = variables_in(side_environment(self._script.variables))
        return replace(found, **software, packages=packages, variables=settings)

    def close(self) -> None:
        self._launched.close()

    kill = close

    # Waiting

    def _await_step(self) -> None:
        """Wait for the first answer. A side that its rival holds up is idle meanwhile, or dies, and steps alone."""
        launched = self._launched
        while not self._facts:
            waited = time.monotonic() - launched.started
            rival = self.rival if self._suspects else None
            try:
                found = launched.answer(TICK_SECONDS)
            except EOFError:
                found = {"ended": None}
            self._tick()
            if found and "ended" in found:
                failed = launched.status(seconds=TICK_SECONDS) or not found["ended"]
                if failed and rival and rival.lives():
                    return self._try_alone(math.inf, f"ended ({self._said()})")
                raise self._end(found["ended"])
            if found:
                self._note_step(found)
            elif waited > self._limit_seconds or (rival and launched.is_idle()):
                if rival and rival.waits():
                    return self._try_alone(waited, "takes no step")
                if waited > self._limit_seconds:
                    raise self._failure(f"took no step within {self._limit_seconds:.0f} s; --limit allows more")
        return None

    def waits(self) -> bool:
        """True if it has taken its first step, and so waits for its turn."""
        with contextlib.suppress(EOFError, BadInput):
            if not self._facts and (found := self._launched.answer(0)) and "facts" in found:
                self._note_step(found)
        return bool(self._facts)

    def _note_step(self, answer: dict[str, Any]) -> None:
        self._facts, self._last, self._steps = answer["facts"], answer, 1
        self._first_seconds = time.monotonic() - self._launched.started

    def lives(self) -> bool:
        return self._launched.status() is None

    def _try_alone(self, waited: float, manner: str) -> None:
        """Start anew without the rival, after ``waited`` seconds beside it. Start the rival too if it is not at fault.

        Raises NotComparable if it is, and BadInput where the side fails alone as well.
        """
        rival, self.rival = self.rival, None
        assert rival is not None
        rival.close()
        self.close()
        self._launch()
        self._await_step()
        if HELD_UP * self._first_seconds < waited:
            raise self._held_up(rival, manner)
        self.rival, self._suspects = rival, False
        stepped = bool(rival._facts)
        rival._launch()
        if stepped:
            rival._await_step()

    def _held_up(self, rival: "ScriptProcess", manner: str) -> NotComparable:
        return NotComparable(
            f"{self._name} {manner} while {rival._name} waits for its turn, and steps alone; {rival._name} holds what "
            f"it needs, such as a lock, a port or the GPU's memory; {SEQUENTIAL}"
        )

    def _blocks(self, blocks: Sequence[tuple[bool | None, int]]) -> list[dict[str, Any]]:
        """The timed ones of ``blocks``, each of which has laps or not, or, if None, does not count."""
        self._launched.send({"blocks": blocks})
        try:
            found = self._launched.answer(self._limit_seconds)
        except EOFError:
            raise self._end() from None
        if found is None:
            if self.rival:
                self.rival.close()
                with contextlib.suppress(EOFError):
                    if self._launched.answer(FREED_SECONDS):
                        raise self._held_up(self.rival, "takes no step")
            limit = f"{self._limit_seconds:.0f} s"
            raise self._failure(f"did not end a block of steps within {limit}; --limit allows more")
        if "ended" in found:
            raise self._end(found["ended"])
        samples = max(found["samples"], self._last["samples"])  # an epoch's last batch may be smaller
        self._last = {**found, "samples": samples}
        self._steps = self._last["blocks"][-1]["step"]
        return list(found["blocks"])

    # Ends

    def _end(self, steps: int | None = None) -> BadInput:
        """The error of a script that is over, after ``steps`` steps if it ended by itself."""
        code = self._launched.status(seconds=2.0)
        if code:
            why = "" if self._facts else f"; {self._launched.why_no_step()}"
            return self._failure(f"{manner_of_death(code, self._launched.log)}{why}")
        if steps is None and not self._facts and code == 0:
            said = self._said()
            return self._failure(f"{self._launched.why_no_step()}, and it ended{f': {said}' if said else ''}")
        if code is None:
            return self._failure(f"its training process ended or let go of its hooks: {self._said()}")
        taken = f"{self._steps} steps or more" if steps is None else f"{steps} step{'s' if steps > 1 else ''}"
        return ScriptEnded(f"{self._name}: the script ended after {taken}, within a block; give it more steps")

    def _said(self) -> str:
        """The last line of its log."""
        *_, last = (text_of(self._launched.log) or "").splitlines() or [""]
        return in_brief(last)

    def _failure(self, text: str) -> BadInput:
        return BadInput(f"{self._name}: {text}{kept(self._launched.log)}")


def _block(told: dict[str, Any], steps: int) -> Block:
    """A block as the hooks tell it; the one row of its phases is the mean of its steps."""
    times = steps, told["seconds"], told["device_seconds"]
    if not told["lapped"]:
        return Block(*times)
    laps = [np.array([told[clock]]) / steps for clock in ("host", "device")]
    seen = (laps[0][0] > 0) | (np.nan_to_num(laps[1][0]) > 0)
    names = tuple(name for name, is_seen in zip(PHASES, seen, strict=True) if is_seen)
    losses = np.array([] if told["loss"] is None else [told["loss"]])
    return LappedBlock(*times, names, laps[0][:, seen], laps[1][:, seen], losses)


def make_rivals(*processes: object) -> None:
    """Let launches of scripts know that they are resident together."""
    base, head = processes
    if isinstance(base, ScriptProcess) and isinstance(head, ScriptProcess):
        base.rival, head.rival = head, base


FILES_LOOKED_AT, FILES_NAMED = 20_000, 2
NOT_OUTPUT = {".git", "__pycache__", ".venv", "node_modules"}


def shared_writing(sides: Sequence[object], moment: float) -> list[str]:
    """A warning where both sides may write to one place: files that were written since ``moment``, of ``time.time``."""
    scripts = [side for side in sides if isinstance(side, Script)]
    if len({(script.folder, script.writes_apart) for script in scripts}) != 1:
        return []
    folder, *_ = (script.folder for script in scripts)
    found = [str(path.relative_to(folder)) for path in _written(folder, moment)]
    if not found:
        return []
    more = f" and {len(found) - FILES_NAMED} more" if len(found) > FILES_NAMED else ""
    named = f"{', '.join(found[:FILES_NAMED])}{more}"
    return [f"both sides may write to one place, {folder}: {named}; {OUT} in a command is a new folder for each launch"]


def _written(folder: Path, moment: float) -> Iterator[Path]:
    looked_at = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted({*folders} - NOT_OUTPUT)
        for file in sorted(Path(parent, name) for name in files):
            with contextlib.suppress(OSError):
                if file.stat().st_mtime > moment:
                    yield file
        looked_at += len(files)
        if looked_at > FILES_LOOKED_AT:
            return
