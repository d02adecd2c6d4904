"""``loopmark check``: a run against a stored baseline. Also shows the judgement of ``check`` and of ``ab``."""

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import ANOTHER_FILE, refuse_unwritable, write_file
from loopmark.bench.cli.options import REFERENCE
from loopmark.bench.errors import BadInput
from loopmark.bench.progress import RunProgress, StderrConsole
from loopmark.bench.records.files import writing_to

if TYPE_CHECKING:
    from loopmark.bench.judge.finding import Judgement

SUMMARY = "GITHUB_STEP_SUMMARY"  # GitHub's variable for the Markdown file that a job shows


def check(
    run: Annotated[Path, options.run("Check the run in this folder.")],
    baseline: Annotated[
        Path, typer.Option(metavar="RUN", parser=options.run_folder, help="Compare with the run in this folder.")
    ],
    threshold: Annotated[
        list[str] | None,
        options.value(
            "METRIC=SHARE",
            "Allow an increase, as in forward=5%, of step, step/eager (for any baseline), peak-memory or a phase. "
            "Can be repeated.",
        ),
    ] = None,
    false_alarms: Annotated[
        str | None,
        options.value("SHARE", "Call unchanged code a regression at most this often. Default: 0.01."),
    ] = None,
    inconclusive: options.Inconclusive = None,
    as_json: options.JudgementJson = False,
    junit: options.Junit = None,
    markdown: options.Markdown = None,
) -> None:
    """Compare a run with a stored baseline for regressions. Needs no torch.

    On the same machine, seconds and bytes are compared; on another, each loop's ratio to the baseline of its own run.
    Other options come from [tool.loopmark.check] in the nearest pyproject.toml.
    In GitHub Actions the findings also go to the job's summary and annotations.

    Exit status: 0 no regression, 1 regression, 2 bad input, 3 inconclusive, 4 not comparable.
    """
    from loopmark.bench.judge.settings import load_settings, parse_false_alarms, parse_flags

    refuse_unwritable(junit, markdown)
    settings = load_settings(Path.cwd())
    thresholds = settings.thresholds.changed(parse_flags(threshold or ()))
    allowed = settings.false_alarms if false_alarms is None else parse_false_alarms(false_alarms, "--false-alarms")

    from loopmark.bench.judge.calibration import quotations
    from loopmark.bench.judge.gate import check as judge
    from loopmark.bench.records.comparison import calibrations_of
    from loopmark.bench.records.store import read

    console = StderrConsole()
    with RunProgress(console) as progress:
        progress.hint("reading the baseline", 0.0)
        before = read(baseline)
        progress.hint("reading the run", 0.3)
        now = read(run)
        progress.hint("judging", 0.6)
        judgement = judge(now, before, thresholds, allowed)
    # Each machine has a folder with its runs, and these folders are siblings.
    roots = dict.fromkeys((run.resolve().parent.parent, baseline.resolve().parent.parent, REFERENCE))
    known = quotations(calibrations_of(now[0].machine.name, *roots))
    counts_as = inconclusive.value if inconclusive else settings.inconclusive
    judgement = replace(judgement, facts=(*judgement.facts, *known), inconclusive=counts_as)
    show_judgement(judgement, as_json=as_json, junit=junit, markdown=markdown, console=console)
    raise typer.Exit(judgement.exit_status)


def show_judgement(
    judgement: "Judgement", *, as_json: bool, junit: Path | None, markdown: Path | None, console: StderrConsole
) -> None:
    """Write the requested files, report to the CI, and print the judgement as JSON alone or as a table.

    A refusal is one line on ``console``, without a table. Raises BadInput for a file that cannot be written.
    """
    from loopmark.bench.report import judgement as page
    from loopmark.bench.report.judgement import conclusion

    # Everything is rendered before anything is written, so that no file is left without the others.
    summary, cases = page.as_markdown(judgement).encode(), page.as_junit(judgement)
    # GitHub reads ##[ as a command at any place.
    text = json.dumps(page.judgement_as_json(judgement), indent=2, allow_nan=False).replace("##[", r"##\u005b")
    for path, content in ((junit, cases), (markdown, summary)):
        if path is not None:
            write_file(path, content)
    _add_to_summary(summary, console)
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    if as_json:
        print(text)
    elif judgement.refusal is not None:
        with _no_commands(on_github, sys.stderr):
            console.note(f"loopmark: {conclusion(judgement)}")
    else:
        with _no_commands(on_github, sys.stdout):
            page.print_judgement(judgement)
    if on_github:
        print("\n".join(page.annotations(judgement)), file=sys.stderr if as_json else sys.stdout, flush=True)


def _add_to_summary(page: bytes, console: StderrConsole) -> None:
    """Append ``page`` to the job's summary, which other steps write to as well."""
    file = os.environ.get(SUMMARY)
    if not file:
        return
    try:
        with writing_to(Path(SUMMARY), ANOTHER_FILE), Path(file).open("ab", buffering=0) as summary:
            summary.write(page)
    except BadInput as error:  # the file is the CI's, and nobody requested it: the verdict counts without it
        console.note(f"warning: {error}")


@contextmanager
def _no_commands(on_github: bool, stream: TextIO) -> Iterator[None]:
    """Keep GitHub from reading printed text as commands: a loop may be named ``::error::``."""
    if not on_github:
        yield
        return
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}", file=stream, flush=True)
    try:
        yield
    finally:
        print(f"::{token}::", file=stream, flush=True)
