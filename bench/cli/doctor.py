"""``loopmark doctor``: what of this machine makes measurements noisy or slow, and what a person could change."""

import json
from typing import Annotated

import typer

from loopmark.bench.cli.options import DeviceOption


def doctor(
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON, and only that.")] = False,
) -> None:
    """Say what of this machine makes measurements noisy or slow, why, and what a person could change.

    All of it is only read: Loopmark never changes a clock, a limit or a mode. Exit status: 0 whatever is found, 2 bad
    input.
    """
    from loopmark.bench.measure.doctor.examine import examine
    from loopmark.bench.measure.doctor.host import this_host
    from loopmark.bench.report.checklist import diagnosis_as_json as to_json
    from loopmark.bench.report.checklist import print_diagnosis

    found = examine(device, this_host())
    if as_json:
        print(json.dumps(to_json(found), indent=2, allow_nan=False))
    else:
        print_diagnosis(found)
