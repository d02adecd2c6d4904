"""``loopmark check``: a run against a stored baseline."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loopmark.bench.cli.status import REFERENCE
from loopmark.bench.cli.tell import InconclusiveOption, JsonOption, JunitOption, MarkdownOption, refuse_unwritable, tell


def check(
    run: Annotated[Path, typer.Argument(help="The folder of the run that is checked.")],
    baseline: Annotated[Path, typer.Option(metavar="RUN", help="The folder of the run that it is checked against.")],
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=SHARE",
            help="How much more is allowed, of step, step/eager, peak-memory or a phase: forward=5%; may be repeated.",
        ),
    ] = None,
    false_alarms: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="How often unchanged code may be called a regression; default: 0.01."),
    ] = None,
    inconclusive: InconclusiveOption = None,
    as_json: JsonOption = False,
    junit: JunitOption = None,
    markdown: MarkdownOption = None,
) -> None:
    """Compare a run with a stored baseline, and say whether anything has become slower. Needs no torch.

    On the same machine seconds and bytes are compared, elsewhere each loop's ratio to eager in its own run. Options
    not given come from [tool.loopmark.check] of the nearest pyproject.toml. In GitHub Actions the findings go to the
    job's summary and annotations as well.

    Exit status: 0 no regression, 1 regression, 2 bad input, 3 inconclusive, 4 not comparable.
    """
    from loopmark.bench.judge.settings import load_settings, parse_false_alarms, parse_flags

    refuse_unwritable(junit, markdown)
    settings = load_settings(Path.cwd())
    thresholds = settings.thresholds.changed(parse_flags(threshold or ()))
    allowed = settings.false_alarms if false_alarms is None else parse_false_alarms(false_alarms, "--false-alarms")

    from loopmark.bench.judge.calibration import quotations
    from loopmark.bench.judge.gate import check as judge
    from loopmark.bench.progress import stderr_console
    from loopmark.bench.records.comparison import calibrations_of
    from loopmark.bench.records.store import read

    before, now = read(baseline), read(run)
    judgement = judge(*now, *before, thresholds, allowed)
    # A run lies in its machine's folder, and that beside those of other machines.
    roots = dict.fromkeys((run.resolve().parent.parent, baseline.resolve().parent.parent, REFERENCE))
    known = quotations(calibrations_of(now[0].machine.name, *roots))
    counts_as = inconclusive.value if inconclusive else settings.inconclusive
    judgement = replace(judgement, facts=(*judgement.facts, *known), inconclusive=counts_as)
    tell(judgement, as_json=as_json, junit=junit, markdown=markdown, console=stderr_console())
    raise typer.Exit(judgement.exit_status)
