"""``loopmark init``: write a task, limits and a CI workflow into a person's repository."""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from loopmark.bench.cli.invocation import write_file
from loopmark.bench.cli.script import task_of
from loopmark.bench.cli.statements import NotPlain, Script
from loopmark.bench.errors import BadInput
from loopmark.bench.progress import StderrConsole
from loopmark.bench.report.text import listed

PACKAGE = Path(__file__).parents[2]
TEMPLATES = Path(__file__).parent / "templates"  # links to the documentation's example and to Loopmark's own workflow
SMALL = "a small task to edit"
TECHNIQUES = ("fused_optimizer", "amp_bf16")  # both are quick to try
TABLE = """
# `loopmark check RUN --baseline RUN` allows a run to be slower, or larger, by this much.
[tool.loopmark.check.thresholds]
step = "10%" # the baseline's seconds, on the same machine
"step / eager" = "5%" # each other loop's ratio to it
"peak memory" = "5%"
"""


def init(
    script: Annotated[
        Path | None, typer.Argument(metavar="SCRIPT", help="Read this training script. Default: train.py, if any.")
    ] = None,
    task: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the task here. Default: loopmark_task.py beside SCRIPT.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write the task and the workflow even if they exist.")] = False,
) -> None:
    """Write a task, limits and a CI workflow into your repository.
    The task, loopmark_task.py, trains as the script does, by the script's own lines. It takes a step. If it cannot, the
    task is a small one to edit. Files that exist are kept. A pyproject.toml gets a table at its end.

    Exit status: 0, or 2 for bad input.
    """
    script = script or next(Path().glob("train.py"), None)
    if script and not script.is_file():
        raise BadInput(f"no file {script}; give a training script, or none for a small task")
    task = task or (script.parent if script else Path()) / "loopmark_task.py"
    root = next((folder for folder in task.resolve().parents if (folder / ".git").exists()), Path.cwd())
    project, workflow = root / "pyproject.toml", root / ".github" / "workflows" / "loopmark.yml"
    table = _table(project)
    said, failed, edit = f"kept {task}: it exists; --force writes another, --task FILE a second one", "", ""
    for text, what in drafts(script) if force or not task.exists() else [("", "")]:
        if text:
            write_file(task, text.encode())
            said = f"wrote {task}: {what}{failed}"
            edit = (
                "\nPut your own training into make_task; until then, this measures a small one."
                if SMALL in what
                else ""
            )
        StderrConsole().note(f"trying {task} …", "dim")
        loops, why = _tried(task)
        if loops:
            break
        failed = f" ({why}); mend that, and repeat with --force"
    else:
        raise BadInput(f"{task} does not run: {why}; mend it, or write another with --force")
    print(said)
    if table:
        with project.open("ab") as file:
            file.write(table)
    there = os.path.relpath(project)
    print(f"wrote {there}: the limits of loopmark check" if table else f"kept {there}: it has a table of Loopmark")
    there = os.path.relpath(workflow)
    if workflow.exists() and not force:
        print(f"kept {there}: it exists; --force writes another")
    else:
        workflow.parent.mkdir(parents=True, exist_ok=True)
        write_file(workflow, _workflow(os.path.relpath(task.resolve(), root), loops[0]).encode())
        print(f"wrote {there}: a gate for pull requests; it needs loopmark among your dependencies")
    baseline = f" --baseline {quote(loops[0])}" if loops[0] != "eager" else ""
    measured = f"--workload {quote(f'{task}:make_task')} --loop {quote(','.join(loops))}"
    print(f"{edit}\nNext: loopmark run --quick {measured}{baseline}")


def drafts(path: Path | None) -> Iterator[tuple[str, str]]:
    """The tasks to try, each with what it is: one of the script's own lines, and a small one with its clipping."""
    step, why = "", "no training script was given"
    if path:
        try:
            script = Script(path)
        except (SyntaxError, ValueError) as error:
            raise BadInput(f"{path} is not Python: {error}; give a training script, or none") from None
        if clip := script.clip():  # Loopmark's step that serves every precision, with the script's own line
            amp = (PACKAGE / "loops" / "amp.py").read_text()
            step = amp.partition("\ndef step")[2].partition('"""\n')[2].partition("\n\n\n")[0]
            lines = f"    task.scaler.unscale_(task.optimizer)\n    torch.nn.utils.{clip}  # as {path.name} does\n"
            step = step.replace("    task.scaler.step(", f"{lines}    task.scaler.step(")
            step = f'\n\ndef step(task, inputs, targets):\n    """One update, with gradients clipped."""\n{step}\n'
        try:
            text, left_out = task_of(script, path.stem)
            without = f", without its {listed(left_out)}" if left_out else ""
            yield text + step, f"the training of {path.name}{without}"
            why = f"{path.name}'s own lines did not run"
        except NotPlain as error:
            why = f"{path.name} could not be read as a task: {error}"
    yield (TEMPLATES / "loopmark_task.py.txt").read_text() + step, f"{SMALL}; {why}"


def _tried(task: Path) -> tuple[list[str], str]:
    """The loops that took a step of ``task``, its baseline first, and why eager did not."""
    own = [f"{task}:step"] if "\ndef step(" in task.read_text() else []
    loops = ["eager", *own, *("+".join([*own, technique]) for technique in TECHNIQUES)]
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-P", "-m", "loopmark", "memory", *loops, "--workload", f"{task}:make_task"]
        command += ["--out", out, "--limit", "120", "--json"]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        return [], (done.stderr.splitlines() or ["it ended"])[-1].removeprefix("loopmark: ")
    cases = json.loads(done.stdout)["loops"]
    ran = [loop for loop, case in zip(loops, cases, strict=True) if case["status"] == "ok"]
    base = next((loop for loop in (*own, "eager") if loop in ran), None)
    return [base, *(loop for loop in ran if loop not in ("eager", base))] if base else [], cases[0]["reason"] or ""


def _table(project: Path) -> bytes:
    """The table to append to pyproject.toml; nothing if it has one of Loopmark's. Raises BadInput if it cannot."""
    old = project.read_bytes() if project.exists() else b""
    new = ("" if old.endswith(b"\n") else "\n") + TABLE if old else TABLE.lstrip()
    added = new.replace("\n", "\r\n" if b"\r\n" in old else "\n").encode()
    try:
        if "loopmark" in tomllib.loads(old.decode()).get("tool", {}):
            return b""
        tomllib.loads((old + added).decode())
    except (ValueError, TypeError) as error:
        raise BadInput(f"cannot add a table to {project}: {error}; mend it first") from None
    return added


def _workflow(task: str, loop: str) -> str:
    """Loopmark's own workflow, with this task in place of its workloads."""
    own = json.dumps([{"workload": f"{task}:make_task", "loop": f"{task}:step" if ":" in loop else loop}])
    text = (TEMPLATES / "bench.yml").read_text().replace("name: bench\n", "name: loopmark\n", 1)
    return re.sub(r"(?<=\|\| )'\[.*\]'", lambda _: f"'{own}'", text.replace("loopmark/phases.py", task))
