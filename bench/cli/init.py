"""``loopmark init``: write a task, limits and a CI workflow into a person's repository."""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from shlex import quote
from textwrap import indent
from typing import Annotated

import typer

from loopmark.bench.cli.invocation import write_file
from loopmark.bench.cli.script import Script
from loopmark.bench.errors import BadInput
from loopmark.bench.progress import StderrConsole

PACKAGE = Path(__file__).parents[2]
TEMPLATES = Path(__file__).parent / "templates"  # links to the documentation's example and to Loopmark's own workflow
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
    force: Annotated[bool, typer.Option("--force", help="Write the task and the workflow even if they exist.")] = False,
) -> None:
    """Write a task, limits and a CI workflow into your repository.
    The task is a small one that runs, loopmark_task.py, with the lines of the script to put in. It takes a step.
    Files that exist are kept. A pyproject.toml gets a table at its end.

    Exit status: 0, or 2 for bad input.
    """
    script = script or next(Path().glob("train.py"), None)
    if script and not script.is_file():
        raise BadInput(f"no file {script}; give a training script, or none for a small task")
    task = (script.parent if script else Path()) / "loopmark_task.py"
    root = next((folder for folder in task.resolve().parents if (folder / ".git").exists()), Path.cwd())
    project, workflow = root / "pyproject.toml", root / ".github" / "workflows" / "loopmark.yml"
    table = _table(project)
    new, missing = force or not task.exists(), ""
    if new:
        text, missing = draft(script)
        write_file(task, text.encode())
    StderrConsole().note(f"trying {task} …", "dim")
    loops, why = _tried(task)
    if not loops:
        raise BadInput(f"{task} does not run: {why}; mend it, or write another with --force")
    print(f"wrote {task}: a small task to edit{missing}" if new else f"kept {task}: it exists; --force writes another")
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
    print(f"\nNext: loopmark run --quick {measured}{baseline}")


def draft(script: Path | None) -> tuple[str, str]:
    """The small task, with the script's clipping as a step and its lines to put in; and what the script lacks."""
    end = missing = ""
    if script:
        try:
            found = Script(script)
        except (SyntaxError, ValueError) as error:
            raise BadInput(f"{script} is not Python: {error}; give a training script, or none") from None
        if clip := found.clip():  # Loopmark's step that serves every precision, with the script's own line
            amp = (PACKAGE / "loops" / "amp.py").read_text()
            step = amp.partition("\ndef step")[2].partition('"""\n')[2].partition("\n\n\n")[0]
            lines = f"    task.scaler.unscale_(task.optimizer)\n    torch.nn.utils.{clip}  # as {script.name} does\n"
            step = step.replace("    task.scaler.step(", f"{lines}    task.scaler.step(")
            end = f'\n\ndef step(task, inputs, targets):\n    """One update, with gradients clipped."""\n{step}\n'
        end += f"\n\n# From {script.name}, to put in:\n{indent(found.pieces(), '# ')}"
        missing = f", with the lines of {script}" + "".join(f"; {kind} was not found" for kind in found.missing())
    return (TEMPLATES / "loopmark_task.py.txt").read_text() + end, missing


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
