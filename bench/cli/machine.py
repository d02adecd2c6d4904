"""``loopmark list`` and ``doctor``: what can be measured on this machine, and why it may be noisy or slow."""

from loopmark.bench.cli import options
from loopmark.bench.cli.invocation import print_json


def list_() -> None:
    """List every workload, loop and technique that can run here. The others are listed with the reason."""
    from rich.console import Console
    from rich.table import Table

    from loopmark.bench.measure import inventory

    device, console = inventory.default_device(), Console(highlight=False, markup=False)
    loops = f"Loops  (--loop NAME, techniques joined by +, or your own: file.py:step), on {device.type}"
    for title, items in (
        ("Workloads  (--workload NAME, or your own: file.py:make_task)", inventory.workloads()),
        (f"\n{loops}", inventory.loops(device)),
    ):
        console.print(title, style="bold")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column()
        for item in items:
            table.add_row(item.name, "no" if item.lacks else "yes", item.lacks or item.summary)
        console.print(table)


def doctor(device: options.Device = None, as_json: options.FoundJson = False) -> None:
    """Report what makes this machine noisy or slow. Each finding has its reason and its remedy.
    Settings are only read: Loopmark never changes a clock, a limit or a mode.

    Exit status: 0 whatever is found, 2 for bad input.
    """
    from loopmark.bench.measure.doctor.examine import examine
    from loopmark.bench.measure.doctor.host import this_host
    from loopmark.bench.report.checklist import diagnosis_as_json, print_diagnosis

    found = examine(device, this_host())
    if as_json:
        print_json(diagnosis_as_json(found))
    else:
        print_diagnosis(found)
