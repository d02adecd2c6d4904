"""What a run says against itself: each warning once, with all that it is said of."""

from loopmark.bench.records.run import Run
from loopmark.bench.report.text import plain

INTERRUPTED = (
    "Interrupted: the run was stopped before its plan was done, and shows what was measured until then; "
    "run its command again for all of it"
)


def warnings_of(run: Run) -> list[str]:
    """Its warnings on a line each; one that several cases share comes once, behind the names of them all."""
    named = dict.fromkeys(f"{case.workload}, {case.label}: " for case in run.cases)
    told: dict[str, list[str]] = {}
    for warning in run.warnings:
        name = next((name for name in named if warning.startswith(name)), "")
        told.setdefault(warning.removeprefix(name), []).append(name.removesuffix(": "))
    grouped = [f"{'; '.join(names)}: {text}" if (names := _names(of)) else text for text, of in told.items()]
    return [plain(warning) for warning in ([INTERRUPTED] if run.interrupted else []) + grouped]


def _names(of: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(of) if name]
