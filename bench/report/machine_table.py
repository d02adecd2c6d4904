"""The machine of a run, as a table."""

from bench.records.machine import Environment, Machine
from bench.report import format as show
from bench.report.grid import Grid, grid


def machine_table(machine: Machine, software: Environment) -> Grid:
    """Its hardware, and the software that ran on it."""
    pinned = ", ".join(map(str, software.cores))
    facts: list[tuple[str, str | None]] = [
        ("machine", machine.name),
        ("CPU", f"{machine.cpu}, {machine.physical_cores} cores, {machine.logical_cores} threads"),
        ("memory", show.data(machine.memory_bytes)),
        *(
            ("GPU", f"{gpu.name}, {show.data(gpu.memory_bytes)}, compute capability {gpu.compute_capability}")
            for gpu in machine.gpus
        ),
        ("system", f"{machine.operating_system}, {machine.architecture}"),
        ("torch", software.torch),
        ("Python", software.python),
        ("CUDA", software.cuda),
        ("cuDNN", software.cudnn),
        ("driver", software.driver),
        ("Loopmark", software.loopmark + (f", {software.revision}" if software.revision else "")),
        (
            "threads",
            f"{software.threads}" + (f", pinned to logical cores {pinned}" if pinned else ", not pinned"),
        ),
        ("CPU capability", software.cpu_capability),
        ("compiler", software.compiler),
        ("huge pages", software.huge_pages),
        ("governor", software.governor),
        ("variables", " ".join(f"{k}={v}" for k, v in sorted(software.variables.items())) or None),
        ("packages", ", ".join(f"{k} {v}" for k, v in sorted(software.packages.items())) or None),
    ]
    return grid(["", ""], ([name, value] for name, value in facts if value), figures=False)
