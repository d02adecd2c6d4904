"""``loopmark run``, ``train`` and ``find-batch``: measure loops, case by case. ``ceilings``: measure the device."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import FAILED, Conditions, Invocation, exit_by, refuse_unwritable
from loopmark.bench.cli.options import RESULTS, names
from loopmark.bench.cli.report import DRAWING, show_batches, show_summary, show_training
from loopmark.bench.errors import BadInput
from loopmark.bench.records.ceilings import ceilings_path
from loopmark.bench.records.files import write_record, writing_to
from loopmark.bench.report.text import plain

MOST_SECONDS = 3600.0  # of ceilings


def run(
    workload: options.Workloads = None,
    loop: options.Loops = None,
    baseline: options.Baseline = None,
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    budget: Annotated[
        float | None, typer.Option(help="Sample each case for this number of seconds. Default: 4 on a CPU, 3 on a GPU.")
    ] = None,
    launches: Annotated[
        int | None, typer.Option(help="Launch this number of processes per case. Default: 5 on a CPU, 3 on a GPU.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed the weights, the batches and the order of turns.")] = 0,
    threads: options.Threads = None,
    limit: options.Limit = 300.0,
    out: Annotated[Path, options.out("<machine>/<run>/")] = RESULTS,
    training: Annotated[
        bool, typer.Option("--train/--no-train", help="Also compare each loop's training, and train it to its target.")
    ] = True,
    seeds: Annotated[
        int | None, typer.Option(help="Train each loop from this number of seeds. Default: 1 on a CPU, none on a GPU.")
    ] = None,
    keep_throttled: Annotated[
        bool, typer.Option("--keep-throttled", help="Keep turns of a throttled GPU, and do not repeat them.")
    ] = False,
    deterministic: options.Deterministic = False,
    quick: options.Quick = False,
    as_json: options.SummaryJson = False,
) -> None:
    """Measure loops against a baseline, and write a report. Each loop runs in processes of its own, and its training
    is compared with the baseline's. The baseline is eager or any other loop, such as your own step. It is always
    measured twice, which gives the run's noise floor. Without --loop, eager and the usual techniques are measured.

    Exit status: 0, or 1 if a case failed or timed out, 2 for bad input, 130 when interrupted.
    """
    conditions = Conditions(device, size, batch_size, seed, threads, limit)
    cases = {"workloads": names(workload), "loops": names(loop), "quick": quick, "deterministic": deterministic}
    chosen = {"baseline": baseline, "budget_seconds": budget, "launches": launches, "keep_throttled": keep_throttled}
    invocation = Invocation(out, as_json, conditions, **cases, **chosen)
    from loopmark.bench.measure.plan import ceiling_seconds, terms_within_a_run
    from loopmark.bench.measure.whole_run import measure_all
    from loopmark.bench.report.draw import draw

    console = invocation.console
    terms = terms_within_a_run(seeds, quick=quick, device=invocation.plan.device)
    with invocation.pool() as (folder, pool, progress):
        found = measure_all(
            invocation.facts,
            terms if training else None,
            ceiling_seconds(quick=quick),
            pool,
            progress,
            lambda forecast: console.note(forecast, "dim"),
        )
    with console.waiting(DRAWING):
        summary = draw(folder, found.run, found.samples, found.trained, found.ceilings)
    show_summary(summary, folder, as_json, console)
    exit_by(found.statuses, interrupted=found.interrupted)


def train(
    workload: options.Workloads = None,
    loop: options.Loops = None,
    baseline: options.Baseline = None,
    device: options.Device = None,
    size: options.Size = None,
    batch_size: options.BatchSize = None,
    seeds: Annotated[int | None, typer.Option(help="Train each loop from this number of seeds. Default: 3.")] = None,
    seed: Annotated[int, typer.Option(help="Begin with this seed.")] = 0,
    budget: Annotated[
        float | None, typer.Option(help="Train for at most this many seconds per seed. Default: 30.")
    ] = None,
    deterministic: options.Deterministic = False,
    threads: options.Threads = None,
    limit: Annotated[float, options.limit("a start or a part of training")] = 300.0,
    out: Annotated[Path, options.out("<machine>/<training>/")] = RESULTS,
    quick: options.Quick = False,
    as_json: options.SummaryJson = False,
) -> None:
    """Train every loop on real data, and compare it with a baseline. A training ends when quality no longer rises.
    Each loop's first steps are compared with the baseline's from the same state. The baseline is eager or any other
    loop, such as your own step, and is always trained as well.

    Exit status: 0, or 1 if a loop failed or timed out, 2 for bad input, 130 when interrupted.
    """
    conditions = Conditions(device, size, batch_size, seed, threads, limit)
    cases = {"workloads": names(workload), "loops": names(loop), "quick": quick, "deterministic": deterministic}
    invocation = Invocation(out, as_json, conditions, **cases, baseline=baseline)
    from loopmark.bench.measure.plan import training_terms
    from loopmark.bench.measure.training.trainer import Trainer
    from loopmark.bench.report.draw import draw_training

    terms = training_terms(seeds, budget, quick=quick)
    with invocation.pool() as (folder, pool, progress):
        training, samples = Trainer(invocation.facts, terms, progress).run(pool)
    with invocation.console.waiting(DRAWING):
        summary = draw_training(folder, training, samples)
    show_training(summary, folder, as_json, invocation.console)
    exit_by(training.statuses, interrupted=training.interrupted)


def find_batch(
    workload: options.Workloads = None,
    loop: options.Loops = None,
    device: options.Device = None,
    size: options.Size = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Begin with this number of samples per step. Default: the workload's own.")
    ] = None,
    budget: Annotated[float, typer.Option(help="Search for this number of seconds per case.")] = 60.0,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    limit: options.Limit = 300.0,
    out: Annotated[Path, options.out("<machine>/<search>/")] = RESULTS,
    deterministic: options.Deterministic = False,
    quick: options.Quick = False,
    as_json: options.FoundJson = False,
) -> None:
    """Find the largest batch that fits, and the fastest one. If several are as fast, the smallest counts.
    Each batch size is tried in a fresh process. Eager is always searched as well.

    Exit status: 0, or 1 if a case failed or timed out, 2 for bad input, 130 when interrupted.
    """
    conditions = Conditions(device, size, batch_size, seed, threads, limit)
    cases = {"workloads": names(workload), "loops": names(loop), "quick": quick, "deterministic": deterministic}
    invocation = Invocation(out, as_json, conditions, **cases, budget_seconds=budget)
    from loopmark.bench.measure.batch_search import BatchSearch

    with invocation.pool() as (folder, pool, progress):
        found = BatchSearch(invocation.facts, progress).run(pool)
    show_batches(found, folder, as_json, invocation.console)
    exit_by((case.status for case in found.cases), interrupted=found.interrupted)


def ceilings(
    device: options.Device = None,
    threads: options.Threads = None,
    budget: Annotated[float, typer.Option(help="Measure for this number of seconds in all.")] = 15.0,
    seed: Annotated[int, typer.Option(help="Seed the data and the order of samples.")] = 0,
    limit: options.Limit = 300.0,
    out: Annotated[Path, options.out("<machine>/ceilings-….json")] = RESULTS,
    as_json: Annotated[bool, options.json_of("the ceilings")] = False,
) -> None:
    """Measure the limits of this device. It times matrix products, copies, launches, and transfers with the host.
    Nothing comes from a datasheet. Limits that cannot be measured here are left out, with the reason.

    Exit status: 0, or 1 if nothing could be measured, 2 for bad input, 130 when interrupted.
    """
    if not 0 < budget <= MOST_SECONDS:
        raise BadInput(f"--budget {budget:g} makes no sense; give seconds, more than 0 and at most {MOST_SECONDS:g}")
    conditions = Conditions(device, seed=seed, threads=threads, limit_seconds=limit)
    invocation = Invocation(out, as_json, conditions, budget_seconds=budget)
    from loopmark.bench.measure.ceilings.survey import measure_ceilings
    from loopmark.bench.measure.pool import CaseEnded, worker_pool
    from loopmark.bench.records.store import ignored_folder, remove_if_empty
    from loopmark.bench.report.ceilings import ceilings_as_json, print_ceilings

    plan, machine, console = invocation.plan, invocation.machine, invocation.console
    path = ceilings_path(out / machine.name, plan.device, plan.threads)
    if not as_json and console.is_terminal:
        console.print(f"measuring for {budget:g} s …", style="dim", end="\r")
    with writing_to(path.parent):
        ignored_folder(out, machine.name)
    try:
        refuse_unwritable(path)
        with (
            tempfile.TemporaryDirectory(prefix="loopmark-ceilings-") as folder,
            worker_pool(plan, Path(folder)) as pool,
        ):
            found = measure_ceilings(pool, plan, machine, budget)
        if found.ceilings:
            write_record(path, found)
    except CaseEnded as end:
        console.note(plain(f"loopmark: {plan.device} {end.status}: {end}"))
        raise typer.Exit(FAILED) from None
    finally:
        remove_if_empty(path.parent)
    if as_json:
        print(ceilings_as_json(found))
    else:
        print_ceilings(found)
    if not found.ceilings:
        raise typer.Exit(FAILED)
    console.note(f"Kept in {path}")
