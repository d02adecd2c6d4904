"""One workload trained from one seed: every loop in its own process, segment by segment, in random order."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, pairwise

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.answers import Ready
from loopmark.bench.measure.pool import CaseEnded, WorkerPool, WorkerProcess
from loopmark.bench.measure.schedule import Schedule
from loopmark.bench.measure.training.session import Begun
from loopmark.bench.measure.training.stopping import DivergenceDetector, EarlyStopping, Terms
from loopmark.bench.records.run import Status
from loopmark.bench.records.samples import table
from loopmark.bench.records.training import COLUMNS, Deviation, Proof, Target, TrainingSamples, Trial


class TrainingCollector:
    """The proofs and trials so far, with their samples."""

    def __init__(self) -> None:
        self.proofs: list[Proof] = []
        self.trials: list[Trial] = []
        self.targets: dict[str, Target] = {}  # by workload
        self._rows: dict[str, list[dict[str, object]]] = {name: [] for name in COLUMNS}

    def add_proof(self, proof: Proof, deviations: Iterable[Deviation] = ()) -> None:
        for deviation in deviations:
            # A table cannot hold a lone surrogate, and a layer's name may contain one.
            layer = deviation.layer.encode(errors="backslashreplace").decode()
            self._rows["deviations"].append({"proof": len(self.proofs), **vars(deviation), "layer": layer})
        self.proofs.append(proof)

    def add_evaluation(self, trial: int, step: int, seconds: float, joules: float, quality: float) -> None:
        spent: dict[str, object] = {"seconds": seconds, "joules": joules}
        self._rows["evaluations"].append({"trial": trial, "step": step, **spent, "quality": quality})

    def add_losses(self, trial: int, first_step: int, losses: Sequence[float]) -> None:
        rows = self._rows["training_losses"]
        rows += [{"trial": trial, "step": step, "loss": loss} for step, loss in enumerate(losses, first_step)]

    def samples(self) -> TrainingSamples:
        return TrainingSamples(**{name: table(columns, self._rows[name]) for name, columns in COLUMNS.items()})


SEGMENT_STEPS = 50  # quality is measured after each epoch, and in longer epochs at least at this interval
ONE_BY_ONE = 5  # first steps, each timed to its end: they compile, and the fourth captures a CUDA graph
NEVER_REACHED = "training was interrupted before this case"

Key = tuple[str, str]  # workload and loop
Endings = dict[Key, tuple[Status, str]]  # cases that are not trained, each with its status and reason


@dataclass
class _Live:
    index: int
    process: WorkerProcess
    stopping: EarlyStopping
    detector: DivergenceDetector
    segments: Iterator[int]
    seconds: float = 0.0
    joules: float = 0.0


class Trials:
    def __init__(self, workload: str, seed: int, terms: Terms, pool: WorkerPool, collector: TrainingCollector) -> None:
        self._workload, self._seed, self._terms = workload, seed, terms
        self._pool, self._collector = pool, collector
        self._limit = pool.limit_seconds
        self._live: list[_Live] = []
        self._running: list[_Live] = []  # the unfinished ones in ``_live``
        self._put_off: list[int] = []
        """Trials that ran out of device memory beside others; they start when the others have ended."""

    def train(
        self, loops: tuple[str, ...], endings: Endings, schedule: Schedule, tell: Callable[[str, float], None]
    ) -> None:
        """Train every loop to its end. ``tell`` receives the current loop and step, and the share of the budget spent.

        Cases in ``endings`` are not trained; a case that fails is added, since it would fail with any seed. Raises
        BadInput, where the terms insist, for a bad step or a workload without a target.
        """
        self._endings, first = endings, len(self._collector.trials)
        for loop in loops:
            ending: tuple[Status, str | None] = endings.get((self._workload, loop), ("ok", None))
            self._collector.trials.append(Trial(self._workload, loop, self._seed, *ending))
        indices = range(first, len(self._collector.trials))
        try:
            for index in schedule.shuffled(indices):
                self._start(index)
            while self._running or self._put_off:
                if not self._running:
                    self._start(self._put_off.pop(0))
                for one in schedule.shuffled(self._running):
                    trial = self._collector.trials[one.index]
                    # The loop that has trained the longest counts, so that the share never decreases.
                    spent = min(1.0, max(each.seconds for each in self._live) / self._terms.budget_seconds)
                    tell(f"{trial.loop} · training, seed {self._seed} · step {trial.steps:,}", spent)
                    if not self._go_on(one):
                        self._running.remove(one)
                        one.process.close()  # at once: other loops may need its memory
        except KeyboardInterrupt:
            for index in indices:
                trial = self._collector.trials[index]
                if trial.status == "ok" and trial.ending is None:
                    never = replace(trial, status="skipped", reason=NEVER_REACHED)
                    self._collector.trials[index] = replace(trial, ending="was interrupted") if trial.steps else never
            raise
        finally:
            for one in self._live:
                one.process.close()

    def _start(self, index: int) -> None:
        """Start a process for the trial, unless the trial has ended or cannot start."""
        trial = self._collector.trials[index]
        if trial.status != "ok":
            return
        log, neighbours = f"training-{index}", len(self._running)
        process = self._pool.start(trial.workload, trial.loop, log=log, neighbours=neighbours, seed=trial.seed)
        try:
            ready, begun = begin(process, self._limit)
            target = expect_target(trial.workload, begun, self._terms, self._collector)
        except CaseEnded as end:
            process.close()
            self._give_up(index, end, others=neighbours)
            return
        except BaseException:
            process.kill()
            raise
        if target is None:
            process.close()
            reason = f"{trial.workload} states no target, so its loops are not trained"
            self._collector.trials[index] = replace(trial, status="skipped", reason=reason)
            return
        untrained = float("nan") if begun.quality is None else begun.quality
        self._collector.trials[index] = replace(
            trial, setup_seconds=ready.seconds, steps_per_epoch=begun.steps_per_epoch
        )
        if trial.setup_seconds is None:  # else the trial was postponed, and this is recorded
            self._collector.add_evaluation(index, 0, 0.0, 0.0, untrained)
        stopping = EarlyStopping(target, self._terms.until, self._terms.budget_seconds, untrained)
        one = _Live(index, process, stopping, DivergenceDetector(), segments(begun.steps_per_epoch))
        self._live.append(one)
        self._running.append(one)

    def _go_on(self, one: _Live) -> bool:
        """Train one trial for a segment; True if it continues."""
        trial = self._collector.trials[one.index]
        first_steps = ONE_BY_ONE - len(trial.first_steps_seconds)
        try:
            segment = one.process.within(self._limit).train(steps=next(one.segments), one_by_one=first_steps)
        except CaseEnded as end:
            self._give_up(one.index, end, others=len(self._running) - 1)
            return False
        self._collector.add_losses(one.index, trial.steps, segment.losses)
        one.seconds += segment.seconds
        one.joules += segment.joules
        trial = replace(
            trial,
            first_steps_seconds=(*trial.first_steps_seconds, *segment.first_steps_seconds),
            compile_seconds=segment.compile_seconds,
            compile_cache=segment.compile_cache,
            steps=trial.steps + len(segment.losses),
            skipped_steps=segment.skipped_steps,
            final_scale=segment.final_scale,
        )
        self._collector.add_evaluation(one.index, trial.steps, one.seconds, one.joules, segment.quality)
        diverged = one.detector.hear(segment.losses)
        # The first steps compile, so their time does not count against the budget.
        ending = one.stopping.hear(trial.steps, one.seconds - sum(trial.first_steps_seconds), segment.quality)
        if diverged:
            trial = replace(trial, ending="diverged", diverged_at_step=diverged.step, divergence=diverged.how)
        elif ending:
            trial = replace(trial, ending=ending, converged_at_step=one.stopping.converged_at_step)
        self._collector.trials[one.index] = trial
        return trial.ending is None

    def _give_up(self, index: int, end: CaseEnded, others: int) -> None:
        """End a trial, or postpone it if it ran out of device memory beside ``others`` before its first step."""
        if others and end.ran_out_of == "device memory" and not self._collector.trials[index].steps:
            self._put_off.append(index)
            return
        refuse_bad_step(end, self._terms)
        trial = self._collector.trials[index]
        self._collector.trials[index] = replace(trial, status=end.status, reason=end.reason)
        self._endings[trial.key] = end.status, end.reason


def begin(process: WorkerProcess, limit_seconds: float) -> tuple[Ready, Begun]:
    """Set up a process's task and prepare to train it. Raises CaseEnded where it fails."""
    ready = process.within(limit_seconds).set_up(with_hash=False)
    return ready, process.within(limit_seconds).begin_training()


def expect_target(workload: str, begun: Begun, terms: Terms, collector: TrainingCollector) -> Target | None:
    """Record and return the workload's target; None without one. Raises BadInput where the terms require one."""
    if begun.target is not None:
        collector.targets.setdefault(workload, begun.target)
    elif terms.insists:
        raise BadInput(
            f"{workload} states no target; give its Task a goal=Goal(metric, target, measure), "
            "or compare its loops' steps with eager's by loopmark run"
        )
    return begun.target


def refuse_bad_step(end: CaseEnded, terms: Terms) -> None:
    """Raise BadInput where a case ended because of a bad step and the terms insist."""
    if end.bad_step and terms.insists:
        raise BadInput(end.reason) from None


def segments(steps_per_epoch: int | None) -> Iterator[int]:
    """The steps of each segment, without end: an epoch, or equal parts of one longer than ``SEGMENT_STEPS``."""
    epoch = steps_per_epoch or SEGMENT_STEPS
    parts = math.ceil(epoch / SEGMENT_STEPS)
    ends = [round(part * epoch / parts) for part in range(parts + 1)]
    return cycle(end - begin for begin, end in pairwise(ends))
