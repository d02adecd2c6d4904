"""``training.csv`` and the JSON of a training: every figure in its base unit, for another program."""

from dataclasses import asdict
from typing import Any

from loopmark.bench.judge.training import TrainedRow, TrainedWorkload, TrainingSummary
from loopmark.bench.report.table import csv_of, ends, finite
from loopmark.bench.report.training.table import Starts
from loopmark.bench.report.training.words import evidence, rounding

Cell = str | int | float | None

_ESTIMATES = ("quality", "steps", "seconds", "joules", "steps_ratio", "seconds_ratio")
"""Of ``Learning``: three columns each."""


def record(row: TrainedRow, workload: TrainedWorkload, start_seconds: float | None = None) -> dict[str, Cell]:
    """One case in base units; None for what was not measured or has no bound."""
    equivalence, learning, ended = row.equivalence, row.learning, row.ended
    proof = equivalence.proof
    worst = equivalence.first or equivalence.furthest
    cells: dict[str, Cell] = {
        "workload": row.workload,
        "loop": row.loop,
        "repeat": "yes" if row.repeat else "no",
        "status": ended.status if ended else proof.status,
        "reason": ended.reason if ended else proof.reason,
        "verdict": equivalence.verdict,
        "evidence": evidence(equivalence),
        "precision": rounding(equivalence) if proof.bits else None,
        "compared_steps": proof.steps,
        "same_steps": proof.same_steps,
        "step": worst.step if worst else None,
        "kind": worst.kind if worst else None,
        "layer": worst.layer if worst else None,
        "error": finite(worst.error) if worst else None,
        "allowed_error": worst.allowed if worst else None,
        "metric": workload.target.metric if workload.target else None,
        "target": workload.target.value if workload.target else None,
        "seeds": len(learning.trials) if learning else None,
        "seeds_that_learn": learning.learns if learning else None,
        "seeds_at_target": learning.reached if learning else None,
        "loss": learning.loss if learning else None,
        "start_seconds": (learning.start_seconds if start_seconds is None else start_seconds) if learning else None,
        "converged_at_step": _mean([one.trial.converged_at_step for one in learning.trials]) if learning else None,
        "diverged_at_step": learning.diverged.trial.diverged_at_step if learning and learning.diverged else None,
        "skipped_steps": learning.skipped_steps if learning else None,
        "final_scale": learning.trials[-1].trial.final_scale if learning and learning.trials else None,
    }
    for name in _ESTIMATES:
        heading = name if name.endswith("ratio") or name == "quality" else f"{name}_to_target"
        cells.update(ends(heading, getattr(learning, name) if learning else None))
    return cells


def as_csv(summary: TrainingSummary) -> str:
    """The whole table, one row a case."""
    records = [record(row, workload) for workload in summary.workloads for row in workload.rows]
    return csv_of(records)


def training_as_json(summary: TrainingSummary, starts: Starts) -> dict[str, Any]:
    """The summary as strict JSON values in base units; each seed of each case by itself as well."""
    training = summary.training
    return {
        "seeds": list(training.seeds),
        "until": training.until,
        "budget_seconds": training.budget_seconds,
        "interrupted": training.interrupted,
        "warnings": list(training.warnings),
        "workloads": [
            {
                "workload": workload.workload,
                "cases": [
                    {**record(row, workload, starts.get((row.workload, row.loop))), "trials": _trials(row)}
                    for row in workload.rows
                ],
            }
            for workload in summary.workloads
        ],
    }


def _trials(row: TrainedRow) -> list[dict[str, Any]]:
    return [
        {
            "seed": one.trial.seed,
            "learns": one.learns,
            "ending": one.trial.ending,
            "steps": one.trial.steps,
            "quality": finite(one.quality),
            "best_quality": finite(one.best_quality),
            "steps_to_target": one.steps_to_target,
            "seconds_to_target": one.seconds_to_target,
            "joules_to_target": one.joules_to_target,
            "start_seconds": one.start_seconds,
            "converged_at_step": one.trial.converged_at_step,
            "diverged_at_step": one.trial.diverged_at_step,
            "divergence": one.trial.divergence,
            "skipped_steps": one.trial.skipped_steps,
            "final_scale": one.trial.final_scale,
            "looks": [asdict(look) for look in one.evaluations],
        }
        for one in (row.learning.trials if row.learning else ())
    ]


def _mean(values: list[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
