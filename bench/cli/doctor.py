"""``loopmark doctor``: what of this machine makes measurements noisy or slow, and what a person could change."""

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_json


def doctor(
    device: options.Device = None,
    as_json: options.FoundJson = False,
) -> None:
    """Say what of this machine makes measurements noisy or slow, why, and what a person could change.

    All of it is only read: Loopmark never changes a clock, a limit or a mode. Exit status: 0 whatever is found, 2 bad
    input.
    """
    from loopmark.bench.measure.doctor.examine import examine
    from loopmark.bench.measure.doctor.host import this_host
    from loopmark.bench.report.checklist import diagnosis_as_json, print_diagnosis

    found = examine(device, this_host())
    if as_json:
        print_json(diagnosis_as_json(found))
    else:
        print_diagnosis(found)
