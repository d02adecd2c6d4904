"""The training part: each case's steps compared with the baseline's, and each case trained from several seeds."""

import time
from contextlib import closing
from dataclasses import replace
from functools import partial

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.answers import OUT_OF_MEMORY
from loopmark.bench.measure.inventory import lacking, lacks_by_case
from loopmark.bench.measure.launcher import apart
from loopmark.bench.measure.machine import CommandFacts
from loopmark.bench.measure.pool import CaseEnded, WorkerPool
from loopmark.bench.measure.schedule import Progress, Schedule
from loopmark.bench.measure.training import trials
from loopmark.bench.measure.training.stopping import Terms
from loopmark.bench.measure.training.trials import Endings, Trials
from loopmark.bench.records.run import Run, Status
from loopmark.bench.records.training import Proof, Training, TrainingSamples, write_training
from loopmark.loops.catalog import WORKLOADS

PROOF_STEPS = 8


class Trainer:
    """Carries out the training of a plan, and stores it in the pool's folder, complete after every workload and seed.

    ``endings``: cases that cannot be trained, in addition to those that this machine lacks requirements for.
    """

    def __init__(self, facts: CommandFacts, terms: Terms, progress: Progress, endings: Endings | None = None) -> None:
        self._facts, self._terms, self._progress = facts, terms, progress
        self._plan, self._began = facts.plan, time.perf_counter()
        workloads, loops = apart(lacking, self._plan)
        self._workloads, self._loops = tuple(workloads), tuple(loops)
        lacks = lacks_by_case(workloads, loops)
        self._endings: Endings = {k: ("skipped", reason) for k, reason in lacks.items() if reason}
        self._endings.update(endings or {})
        unpinned = "this system cannot pin processes to cores, which adds noise; give more --seeds"
        self._warnings = () if self._facts.cores else (unpinned,)
        self._seeds = tuple(self._plan.seed + number for number in range(terms.seeds))
        self._schedule = Schedule(self._plan.seed)
        self._collector = trials.TrainingCollector()

    def run(self, pool: WorkerPool) -> tuple[Training, TrainingSamples]:
        """Train, and return the results; Ctrl-C ends it early with the results so far.

        Raises BadInput, where the terms insist, for a bad step or a workload without a target.
        """
        self._pool, interrupted = pool, False
        try:
            self._expect_targets()
            for workload in self._workloads:
                self._prove(workload)
                self._keep(interrupted=False)
                for stage, seed in enumerate(self._seeds, start=1):
                    one_seed = Trials(workload, seed, self._terms, pool, self._collector)
                    one_seed.train(self._loops, self._endings, self._schedule, partial(self._tell, workload, stage))
                    self._keep(interrupted=False)
        except KeyboardInterrupt:
            interrupted = True
        return self._keep(interrupted)

    def _keep(self, interrupted: bool) -> tuple[Training, TrainingSamples]:
        training = Training(
            **self._facts.fields(self._pool.folder, interrupted=interrupted),
            seeds=self._seeds,
            until=self._terms.until,
            budget_seconds=self._terms.budget_seconds,
            targets=dict(self._collector.targets),
            proofs=tuple(self._collector.proofs),
            trials=tuple(self._collector.trials),
            warnings=self._warnings,
        )
        samples = self._collector.samples()
        write_training(self._pool.folder, training, samples)
        return training, samples

    def _expect_targets(self) -> None:
        """Check the targets of the user's own workloads first, to report a missing one before any training."""
        for workload in self._workloads if self._terms.insists else ():
            if workload in WORKLOADS or (workload, self._plan.baseline) in self._endings:
                continue
            with closing(self._pool.start(workload, self._plan.baseline, log="target", neighbours=0)) as process:
                try:
                    _, begun = trials.begin(process, self._plan.limit_seconds)
                except CaseEnded as end:
                    raise BadInput(f"{workload} cannot be trained: {end.reason}") from None
                trials.expect_target(workload, begun, self._terms, self._collector)

    def _prove(self, workload: str) -> None:
        """Compare every case of ``workload`` with the baseline, one after another. Nothing is timed."""
        base = self._plan.baseline
        cases = [(base, False), (base, True), *((loop, False) for loop in self._loops if loop != base)]
        for number, (loop, repeat) in enumerate(cases):
            self._tell(workload, 0, f"{loop} · compared with {base}", number / len(cases))
            ending: tuple[Status, str | None] = self._endings.get((workload, loop), ("ok", None))
            proof = Proof(workload, loop, repeat, *ending)
            if proof.status == "ok":
                self._compare(proof)
            else:
                self._collector.add_proof(proof)

    def _compare(self, proof: Proof) -> None:
        log = f"proof-{len(self._collector.proofs)}"
        process = self._pool.start(proof.workload, proof.loop, log=log, neighbours=0, repeat=proof.repeat)
        with closing(process):
            try:
                seen = process.within(self._plan.limit_seconds).prove(steps=PROOF_STEPS)
            except CaseEnded as end:
                trials.refuse_bad_step(end, self._terms)
                # Training may still fit: it needs no copies of the baseline's model.
                if not end.reason.startswith(OUT_OF_MEMORY):
                    self._endings[proof.key] = end.status, end.reason
                self._collector.add_proof(replace(proof, status=end.status, reason=end.reason))
                return
        if seen.why_not is not None:
            self._collector.add_proof(replace(proof, reason=seen.why_not))
            return
        told = {name: value for name, value in vars(seen).items() if name not in ("deviations", "why_not")}
        self._collector.add_proof(replace(proof, **told), seen.deviations)

    def _tell(self, workload: str, stage: int, doing: str, part: float) -> None:
        """Report the progress of a workload's stage: its comparison with the baseline (0), or a seed after it."""
        stages = 1 + len(self._seeds)
        done = (self._workloads.index(workload) * stages + stage + part) / (len(self._workloads) * stages)
        # A comparison may compile, which tells nothing about the time of a training.
        left = (time.perf_counter() - self._began) * (1 - done) / done if stage and done > 0.1 else None
        self._progress.tell(f"{workload} · {doing}", done, left)


def endings_of(run: Run) -> Endings:
    """The cases of a timed run that failed or were skipped: they are not trained either."""
    return {(c.workload, c.loop): (c.status, c.reason or c.status) for c in run.cases if c.status != "ok"}
