"""``report.md``: everything a run has to say on one page that renders anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.judge.summary import BASELINE, Row, Summary, WorkloadSummary
from bench.records.machine import Environment as Software
from bench.records.machine import Machine
from bench.records.samples import Samples
from bench.report import cells
from bench.report import format as show
from bench.report.disturbance import Disturbance, disturbance
from bench.report.markdown_table import main_table, phase_table, pipe_table, start_table
from bench.report.takeaway import takeaway
from bench.report.text import code_block, markdown


@dataclass(frozen=True)
class Plot:
    """A plot that was drawn for a workload."""

    workload: str
    file: str
    """Its file's name in ``plots/``."""
    text: str
    """What it shows, for who cannot see it."""


def page(summary: Summary, samples: Samples, plots: Sequence[Plot]) -> str:
    """The page in Markdown. A section with nothing to say is absent."""
    environment = Environment(
        loader=PackageLoader("bench", "report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )  # autoescape is for HTML; here every text from outside goes through the md filter
    environment.filters["md"] = markdown
    return environment.get_template("report.md.jinja").render(
        run=summary.run,
        takeaway=takeaway(summary),
        baseline=BASELINE,
        workloads=[_section(workload, summary, samples, plots) for workload in summary.workloads],
        machine=_machine_table(summary.run.machine, summary.run.environment),
        command=code_block(summary.run.plan.command),
        data=_data(summary),
    )


def _section(workload: WorkloadSummary, summary: Summary, samples: Samples, plots: Sequence[Plot]) -> dict[str, Any]:
    device, host = phase_table(workload, device=True), phase_table(workload, device=False)
    titled = [("Phases, on the device's clock", device), ("Phases, as the host enqueues them", host)]
    return {
        "name": workload.workload,
        "table": main_table(workload),
        "noise": _sentence(cells.noise(workload)),
        "lap_cost": _sentence(cells.lap_cost(workload)),
        "batch": _batch(workload),
        "notes": [{"name": row.case.label, "text": text} for row in workload.rows if (text := _note(row))],
        "plots": [plot for plot in plots if plot.workload == workload.workload],
        "phases": [{"title": t if device else "Phases", "table": table} for t, table in titled if table],
        "caveat": bool(host or device) and any(cells.compiled(row) for row in workload.rows),
        "start": start_table(workload),
        "disturbances": _disturbance_table(workload, summary, samples),
    }


def _note(row: Row) -> str:
    """What a row has to say beyond its figures: why it has none, or what its gradient scaler did."""
    if row.step_seconds is None:
        return cells.why(row)
    notes = cells.notes(row)
    return f"– {notes}" if notes else ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _batch(workload: WorkloadSummary) -> str:
    """What the loops were given and what the memory column counts, where all of them agree."""
    measured = [row.case for row in workload.rows if row.step_seconds is not None]
    batches = {case.batch_size for case in measured if case.batch_size is not None}
    kinds = {case.memory_kind for case in measured if case.memory_kind is not None}
    parts = []
    if len(batches) == 1:
        parts.append(f"Batches of {show.count(batches.pop())} samples.")
    if len(kinds) == 1:
        parts.append(f"Peak memory is {kinds.pop()}.")
    return " ".join(parts)


def _disturbance_table(workload: WorkloadSummary, summary: Summary, samples: Samples) -> str:
    indices = {id(case): i for i, case in enumerate(summary.run.cases)}
    blocks = dict(tuple(samples.blocks.groupby("case")))
    seen: list[tuple[str, Disturbance]] = []
    for row in workload.rows:
        rows = blocks.get(indices[id(row.case)])
        if row.step_seconds is not None and rows is not None:
            seen.append((row.case.label, disturbance(rows)))
    if not any(case.any for _, case in seen):
        return ""
    columns: dict[str, list[str]] = {
        "loop": [markdown(label) for label, _ in seen],
        "blocks": [show.count(case.blocks) for _, case in seen],
        "with the core taken away": [show.count(case.switched_blocks) for _, case in seen],
        "CPU steal": [show.seconds(case.steal_seconds) if case.steal_seconds else "0" for _, case in seen],
        "throttled": [show.count(case.throttled_blocks) for _, case in seen],
        "throttle reasons": [markdown(", ".join(case.throttle_reasons)) or "0" for _, case in seen],
        "with another process on the GPU": [show.count(case.foreign_blocks) for _, case in seen],
    }
    told = {heading: texts for heading, texts in columns.items() if set(texts) != {"0"}}
    return pipe_table(list(told), zip(*told.values(), strict=True))


def _machine_table(machine: Machine, software: Software) -> str:
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
    rows = [[name, markdown(value)] for name, value in facts if value]
    return pipe_table(["", ""], rows).replace("---:", "---")


def _data(summary: Summary) -> list[dict[str, str]]:
    """Each workload's data, once for each hash: loops that differ in it are not comparable."""
    hashes = dict.fromkeys((c.workload, c.data_sha256) for c in summary.run.cases if c.data_sha256)
    return [{"name": name, "sha256": sha256 or ""} for name, sha256 in hashes]
