"""``loopmark list``: what there is to measure."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from loopmark.bench.measure.inventory import Item


def list_() -> None:
    """Say every workload, loop and technique, and whether it can run here."""
    from rich.console import Console

    from loopmark.bench.measure import inventory

    device = inventory.default_device()
    console = Console(highlight=False)
    console.print("Workloads  (--workload NAME, or your own: file.py:make_task)", style="bold", markup=False)
    _print_items(console, inventory.workloads())
    console.print()
    title = f"Loops  (--loop NAME, techniques joined by +, or your own: file.py:step), on {device.type}"
    console.print(title, style="bold", markup=False)
    _print_items(console, inventory.loops(device))


def _print_items(console: "Console", items: "tuple[Item, ...]") -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for item in items:
        table.add_row(item.name, "no" if item.lacks else "yes", item.lacks or item.summary)
    console.print(table)
