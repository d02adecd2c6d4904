"""Each promise, judged by the files that the steps left in a folder: it holds, fails, or was not tried."""

import csv
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["holds", "fails", "not tried"]

DEFAULTS_SECONDS = 600.0
"""The time limit of `make bench` with default options."""
PEAKS = {
    # Dense bfloat16 FLOP/s and bytes/s from NVIDIA's datasheets, used only to check ceilings.
    "H200": (989e12, 4.8e12),
    "H100 80GB HBM3": (989e12, 3.35e12),
    "A100-SXM4-80GB": (312e12, 2.04e12),
    "NVIDIA L4": (121e12, 0.30e12),
}
LEAST_SECONDS = 60.0
"""A comparison of at least this duration is expected to find +1 %."""
CLOCK = "step-3-clock.xml"
LEAST_SHARE = 0.4
"""Below this share of a peak, a ceiling was measured badly or the card was held down."""


@dataclass(frozen=True)
class Promise:
    """One promise and its result."""

    text: str
    state: State
    figure: str


def promises(folder: Path) -> tuple[Promise, ...]:
    """Judge every promise by the files in ``folder``."""
    judges: tuple[tuple[str, Callable[[Path], tuple[State, str]]], ...] = (
        ("the short tests for CUDA pass", lambda f: _tests(f / "step-1-tests.xml")),
        ("a launch from the fork server can use the GPU", _launches),
        ("kernels of known length are timed within 1 %", lambda f: _tests(f / CLOCK, "test_kernels_of_known")),
        ("a graph's phases add up to its replay", lambda f: _tests(f / CLOCK, "test_a_graphs_phases")),
        ("timing the phases costs at most 0.5 %", lambda f: _tests(f / CLOCK, "test_timing_the_phases")),
        ("unchanged code is not called slower or faster", lambda f: _compared(f, 0.0, ("same", "inconclusive"))),
        ("+1 % is found", lambda f: _compared(f, 0.01, ("slower",))),
        (f"make bench takes at most {DEFAULTS_SECONDS:.0f} s at the defaults", _defaults),
        ("no case is lost: each is measured, or skipped with a reason", _cases),
        ("MFU is known for each measured case", lambda f: _known(f, "model_flops_utilisation")),
        ("energy is known for each measured case", lambda f: _known(f, "joules_per_step")),
        ("ceilings lie below the card's peak, and near it", _ceilings),
    )
    return tuple(Promise(text, *_judged(judge, folder)) for text, judge in judges)


def _judged(judge: Callable[[Path], tuple[State, str]], folder: Path) -> tuple[State, str]:
    try:
        state, figure = judge(folder)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return "fails", f"what its step left cannot be read: {type(error).__name__}"
    return state, " ".join(figure.split()).replace("|", "\\|")


def summary(folder: Path, notes: tuple[str, ...] = ()) -> str:
    """One page in Markdown: each promise's state and figure, then the result of each step."""
    rows = [f"| {one.text} | {one.state} | {one.figure} |" for one in promises(folder)]
    steps = [line for path in sorted(folder.glob("step-[123].json")) for line in _commands(path)]
    head = [
        "# What this machine shows of Loopmark's promises",
        "",
        "| promise | state | figure |",
        "| --- | --- | --- |",
    ]
    return "\n".join([*head, *rows, "", "## Commands", "", *steps, *(f"- {note}" for note in notes), ""])


def _commands(path: Path) -> Iterator[str]:
    try:
        for command in json.loads(path.read_text()):
            ended = f"{_ended(command)} after {command['seconds']:.0f} s"
            yield f"- `{command['command']}`: {ended}, log in {command['log']}"
    except (OSError, ValueError, LookupError, TypeError):
        yield f"- {path.name} cannot be read"


def _ended(command: dict[str, Any]) -> str:
    return "took too long and was ended" if command["status"] is None else f"exit status {command['status']}"


def _tests(report: Path, beginning: str = "test_") -> tuple[State, str]:
    if not report.is_file():
        return "not tried", "no report of the tests"
    try:
        cases = [c for c in ElementTree.parse(report).iter("testcase") if c.get("name", "").startswith(beginning)]
    except ElementTree.ParseError:
        return "fails", "the tests were ended before they wrote their report"
    bad = [case.get("name", "") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    if bad:
        return "fails", f"{len(bad)} of {len(cases)}, the first is {bad[0]}"
    passed = len(cases) - len(skipped)
    status = _status(report)
    if passed and (status is None or status > 1):
        return "fails", f"ended after {passed} had passed"
    reason = skipped[0].find("skipped") if skipped else None
    if not passed:
        return "not tried", (reason.get("message", "") if reason is not None else "no such test ran")
    return "holds", f"{passed} passed, {len(skipped)} skipped"


def _status(report: Path) -> int | None:
    """The recorded exit status of the command that wrote ``report``; None if it ran out of time."""
    step = report.parent / f"{report.name[: len('step-1')]}.json"
    commands = json.loads(step.read_text()) if step.is_file() else []
    return next((one["status"] for one in commands if report.name in one["command"]), 0)


def _run(folder: Path) -> tuple[dict[str, Any], Path] | None:
    found = sorted(folder.glob("step-2-results/*/*/run.json"))
    return (json.loads(found[-1].read_text()), found[-1].parent) if found else None


def _on_gpu(run: dict[str, Any]) -> bool:
    return not str(run["plan"]["device"]).startswith("cpu")


def _launches(folder: Path) -> tuple[State, str]:
    found = _run(folder)
    if found is None or not _on_gpu(found[0]):
        return "not tried", "no run on a GPU"
    eager = [case for case in found[0]["cases"] if case["loop"] == "eager"]
    bad = next((case["reason"] for case in eager if case["status"] != "ok"), None)
    return ("fails", str(bad)) if bad or not eager else ("holds", f"{len(eager)} cases of eager ran on it")


def _compared(folder: Path, effect: float, wanted: tuple[str, ...]) -> tuple[State, str]:
    for path in sorted(folder.glob("step-3-results/*/calibration-*.json")):
        known = json.loads(path.read_text())
        verdicts = [trial["verdict"] for trial in known["trials"] if trial["effect"] == effect]
        if verdicts:
            if known["budget_seconds"] < LEAST_SECONDS and "slower" in wanted:
                return "not tried", f"{known['budget_seconds']:.0f} s a comparison are too few"
            right = sum(verdict in wanted for verdict in verdicts)
            figure = f"{right} of {len(verdicts)} comparisons on {known['device']}: {', '.join(verdicts)}"
            if right < len(verdicts) and {*verdicts} <= {*wanted, "inconclusive"}:
                return "not tried", f"{figure}: too few to tell"
            return ("holds" if right == len(verdicts) else "fails"), figure
    return "not tried", "no comparison of that size"


def _defaults(folder: Path) -> tuple[State, str]:
    path, found = folder / "step-2.json", _run(folder)
    if not path.is_file() or found is None or not _on_gpu(found[0]):
        return "not tried", "no run on a GPU"
    (command,) = json.loads(path.read_text())
    figure, in_time = f"{command['seconds']:.0f} s, {_ended(command)}", command["seconds"] <= DEFAULTS_SECONDS
    if command["status"] is None and in_time:
        return "not tried", f"{figure}; run make bench by itself"
    return ("holds" if command["status"] in (0, 1) and in_time else "fails"), figure


def _cases(folder: Path) -> tuple[State, str]:
    found = _run(folder)
    if found is None:
        return "not tried", "no run"
    cases = found[0]["cases"]
    lost = [
        case for case in cases if case["status"] not in ("ok", "skipped") or not (case["launches"] or case["reason"])
    ]
    if lost:
        first = f"the first is {lost[0]['workload']} {lost[0]['loop']}: {lost[0]['reason']}"
        return "fails", f"{len(lost)} of {len(cases)} lost, {first}"
    if found[0]["interrupted"]:
        return "not tried", "the run was ended before its time"
    ran = sum(case["status"] == "ok" for case in cases)
    return "holds", f"{ran} measured, {len(cases) - ran} skipped, on {found[0]['plan']['device']}"


def _known(folder: Path, column: str) -> tuple[State, str]:
    found = _run(folder)
    if found is None or not _on_gpu(found[0]):
        return "not tried", "no run on a GPU"
    table = found[1] / "summary.csv"
    if not table.is_file():
        return "fails", "the run has no summary.csv"
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "ok"]
    missing = [f"{row['workload']} {row['loop']}" for row in rows if not row.get(column)]
    return ("fails", f"not of {', '.join(missing)}") if missing or not rows else ("holds", f"{len(rows)} cases")


def _ceilings(folder: Path) -> tuple[State, str]:
    for path in sorted(folder.glob("step-3-results/*/ceilings-*.json")):
        found = json.loads(path.read_text())
        name = next((gpu["name"] for gpu in found["machine"]["gpus"]), "")
        peaks = next((peak for card, peak in PEAKS.items() if card in name), None)
        if not str(found["device"]).startswith("cuda") or peaks is None:
            return "not tried", f"no peak is known for {name or found['device']}"
        shares = dict(_shares(found["ceilings"], *peaks))
        figure = ", ".join(f"{what} {share:.0%} of the datasheet's" for what, share in shares.items())
        return (
            "holds" if all(LEAST_SHARE <= share <= 1.0 for share in shares.values()) and len(shares) == 2 else "fails"
        ), figure
    return "not tried", "no ceilings"


def _shares(ceilings: list[dict[str, Any]], flops: float, bytes_: float) -> Iterator[tuple[str, float]]:
    for one in ceilings:
        if one["kind"] == "matrix product" and one["dtype"] == "bfloat16":
            yield "bfloat16", one["value"] / flops
        if one["kind"] == "copy":
            yield "copy", one["value"] / bytes_
