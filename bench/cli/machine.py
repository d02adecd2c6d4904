"""``loopmark list`` and ``doctor``: what can be measured on this machine, and what makes it noisy or slow."""

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_json


def list_() -> None:
    """Say every workload, loop and technique, and whether it can run here."""
    from rich.console import Console
    from rich.table import Table

    from loopmark.bench.measure import inventory

    device, console = inventory.default_device(), Console(highlight=False)
    loops = f"Loops  (--loop NAME, techniques joined by +, or your own: file.py:step), on {device.type}"
    for title, items in (
        ("Workloads  (--workload NAME, or your own: file.py:make_task)", inventory.workloads()),
        (f"\n{loops}", inventory.loops(device)),
    ):
        console.print(title, style="bold", markup=False)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column()
        for item in items:
            table.add_row(item.name, "no" if item.lacks else "yes", item.lacks or item.summary)
        console.print(table)


def doctor(device: options.Device = None, as_json: options.FoundJson = False) -> None:
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
