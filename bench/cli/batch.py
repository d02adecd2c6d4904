"""``loopmark run --find-batch``: the largest batch that fits, and the one with the best throughput."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from loopmark.bench.cli.report import show_batches
from loopmark.bench.cli.status import INTERRUPTED, NOT_MEASURED
from loopmark.bench.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from loopmark.bench.records.run import Plan

SEARCH_SECONDS = 60.0
"""Of one case, unless it is said otherwise."""


def refuse_what_a_search_has_no_use_for(launches: int | None, seeds: int | None) -> None:
    """Raise BadInput for options that a search would leave unheard."""
    if launches is not None:
        raise BadInput("--find-batch tries each batch size in one fresh process; leave --launches out")
    if seeds is not None:
        raise BadInput("--find-batch trains nothing; leave --seeds out")


def search_batch(plan: "Plan", out: Path, as_json: bool, console: "Console") -> None:
    """Search every case of ``plan``, keep what was found under ``out`` and show it."""
    from datetime import UTC, datetime

    from loopmark.bench.measure.batch_search import BatchSearch
    from loopmark.bench.measure.launcher import apart
    from loopmark.bench.measure.machine import describe_machine
    from loopmark.bench.measure.pool import worker_pool
    from loopmark.bench.progress import RunProgress
    from loopmark.bench.records.store import create_folder, remove_if_empty

    started, machine = datetime.now(UTC), apart(describe_machine, plan.device)
    # A polite `kill` is as good as Ctrl-C: processes end, and what was found is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = create_folder(out, machine.name, started.isoformat())
    try:
        with RunProgress(console) as progress, worker_pool(plan, folder) as pool:
            hunt = BatchSearch(plan, machine, started, progress).run(pool)
    except BaseException:
        remove_if_empty(folder)
        raise
    show_batches(hunt, folder, as_json, console)
    if hunt.interrupted:
        raise typer.Exit(INTERRUPTED)
    if {case.status for case in hunt.cases} & {"failed", "timed_out"}:
        raise typer.Exit(NOT_MEASURED)
