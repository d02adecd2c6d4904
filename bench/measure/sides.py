"""Both sides of a comparison: from options such as ``rev=main`` to what can be launched."""

import difflib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch

from loopmark.bench.errors import BadInput, NotComparable
from loopmark.bench.measure.assignment import Assignment
from loopmark.bench.measure.launcher import ForkServer, Launcher
from loopmark.bench.measure.machine import available_cores
from loopmark.bench.measure.paired_measurement import PairedMeasurement, PreparedSide
from loopmark.bench.measure.revisions import refuse_absent, resolve, working_tree, worktree
from loopmark.bench.measure.side_server import SideServer
from loopmark.bench.measure.watching.launched_script import Script
from loopmark.bench.measure.watching.watched import SCRIPT
from loopmark.bench.records.run import Plan
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.loop import EAGER
from loopmark.loops.user_code import BadSpec
from loopmark.loops.workload import Size

KEYS = ("loop", "workload", "rev", "python", "env", "cmd")
_NEXT_KEY = re.compile(rf"[,\s]+(?=(?:{'|'.join(KEYS)})=)")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class SideOptions:
    """Options of one side; None means the same as the other side."""

    loop: str | None = None
    workload: str | None = None
    revision: str | None = None
    python: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)
    command: str | None = None  # of a training script, with its interpreter if ``python`` names one

    @property
    def given(self) -> dict[str, str]:
        """The options that were given, by the names used on the command line."""
        named = {"loop": self.loop, "workload": self.workload, "rev": self.revision, "python": self.python}
        named["cmd"] = self.command
        return {
            **{key: str(value) for key, value in named.items() if value is not None},
            **{f"env {name}": value for name, value in self.variables.items()},
        }


def parse_side(options: Sequence[str], flag: str) -> SideOptions:
    """The side described by ``options``; each holds one or more ``key=value``, separated by commas or spaces.

    A comma or a space starts a new pair only where a known key follows it, so values may contain both. Raises BadInput
    for an unknown key, a repeated key, or an invalid value.
    """
    found: dict[str, str] = {}
    variables: dict[str, str] = {}
    for part in (part for option in options for part in _NEXT_KEY.split(option.strip())):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or key not in KEYS:
            alike = difflib.get_close_matches(key, KEYS, 1)
            meant = f"; did you mean {alike[0]}=…?" if alike and equals else ""
            raise BadInput(f"{flag} '{part}' is not key=value with one of the keys {', '.join(KEYS)}{meant}")
        if key == "env":
            name, assigned, setting = value.partition("=")
            if not assigned or not _VARIABLE.fullmatch(name) or "\0" in setting:
                raise BadInput(f"{flag} '{part}' does not have the form env=NAME=value")
            if name in variables:
                raise BadInput(f"{flag} gives env={name} twice; give it once")
            variables[name] = setting
            continue
        if not value.strip():
            raise BadInput(f"{flag} '{part}' has no value; give {key}=value")
        if key in found:
            raise BadInput(f"{flag} gives {key} twice; give it once")
        found[key] = value.strip()
    python = _interpreter(found["python"], flag) if "python" in found else None
    if "cmd" in found:
        _words(found["cmd"], python, flag)
        if beside := [key for key in ("loop", "workload") if key in found]:
            raise BadInput(f"{flag} gives cmd= and {beside[0]}=; a command trains its own model, so leave that out")
    return SideOptions(found.get("loop"), found.get("workload"), found.get("rev"), python, variables, found.get("cmd"))


_PYTHON = re.compile(r"python(\d+(\.\d+)?)?")


def _words(command: str, python: Path | None, flag: str) -> tuple[str, ...]:
    """The words of a ``cmd=``, started by ``python`` if it is given."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BadInput(f"{flag} cmd={command}: {error}; quote it as in a shell") from None
    if not words:
        raise BadInput(f"{flag} cmd= has no words; give a command, as in cmd=python train.py")
    if python is None:
        return tuple(words)
    if not _PYTHON.fullmatch(Path(words[0]).name):
        raise BadInput(f"{flag} python= needs a command that begins with python, and this one begins with {words[0]}")
    return str(python), *words[1:]


def refuse_commands(base: SideOptions, head: SideOptions, options: Mapping[str, object]) -> None:
    """Raise BadInput where only one side is a command, or an option of loops in ``options`` is set beside one."""
    commands = {"--base": base.command, "--head": head.command}
    if not any(commands.values()):
        return
    for flag, command in commands.items():
        if command is None:
            raise BadInput(f'{flag} has no cmd=; give both sides one, as in {flag} "cmd=python train.py"')
    for flag, value in options.items():
        if value is not None:
            raise BadInput(f"{flag} is for loops; with cmd=, the script decides it: leave {flag} out")


def side_threads(side: SideOptions, flag: str, default: int, cores: int) -> int:
    """The number of threads of a side: its own OMP_NUM_THREADS, else ``default``."""
    given = side.variables.get("OMP_NUM_THREADS")
    if given is None:
        return default
    if not given.isdigit() or not 1 <= int(given) <= cores:
        raise BadInput(f"{flag} env=OMP_NUM_THREADS={given} does not fit this machine; give 1 to {cores}")
    return int(given)


def _interpreter(text: str, flag: str) -> Path:
    found = shutil.which(text)
    if found is None or Path(found).is_dir():
        raise BadInput(f"{flag} python={text}: no such interpreter; give the path of a Python with torch installed")
    return Path(os.path.abspath(found))  # noqa: PTH100 - not resolved: a venv's python is a link


OWN_INTERPRETER = Path(sys.executable)
DEFAULT_WORKLOAD = "resnet"


@dataclass(frozen=True)
class PreparedComparison:
    """Two sides; ``shared_server`` is True if one server forks both."""

    base: PreparedSide
    head: PreparedSide
    shared_server: bool

    def measurement(self, plan: Plan, *, sequential: bool = False) -> PairedMeasurement:
        found = PairedMeasurement(self.base, self.head, plan, sequential=sequential)
        servers = [side.launcher for side in (self.base, self.head) if isinstance(side.launcher, SideServer)]
        if not all(server.has_fixed_layout for server in servers):
            found.warnings.append(
                "this system does not permit a fixed memory layout, so that each side has another one: "
                "a difference of up to 2 % may come from it"
            )
        return found


@contextmanager
def prepare_comparison(
    base: SideOptions, head: SideOptions, plan: Plan, *, workload: str | None, loop: str | None, slowdown: float = 0.0
) -> Iterator[PreparedComparison]:
    """Both sides, ready to be launched. Their worktrees exist until the context ends.

    One server forks both sides where both run in this interpreter and environment, so that they differ only in the
    given options. Otherwise each side has a server of its own. ``workload`` and ``loop`` are the defaults of a side
    that names none; ``slowdown`` is the share of the head's time added on purpose. Both sides have a command, or none.

    Raises BadInput for an unknown loop, workload, revision or interpreter, and NotComparable for a loop or workload
    that cannot run on this machine.
    """
    asked = {"base": base, "head": head}
    scripts = {name: _words(side.command, side.python, f"--{name}") for name, side in asked.items() if side.command}
    shared = not scripts and all(s.python in (None, OWN_INTERPRETER) and not s.variables for s in asked.values())
    cores = available_cores()
    most = len(cores) or plan.threads
    threads = {name: side_threads(side, f"--{name}", plan.threads, most) for name, side in asked.items()}
    workloads = {name: side.workload or workload or DEFAULT_WORKLOAD for name, side in asked.items()}
    loops = {name: side.loop or loop or EAGER.name for name, side in asked.items()}
    loops |= dict.fromkeys(scripts, SCRIPT)
    for name, side in asked.items():
        if not scripts and side.revision is None and side.python is None and not side.variables:
            _refuse_unknown(workloads[name], loops[name], plan.device)
    revisions = {name: side.revision for name, side in asked.items() if side.revision is not None}
    clean = len(revisions) == len(asked)
    commits = {name: resolve(revision, f"--{name}", clean=clean) for name, revision in revisions.items()}
    for name, revision in revisions.items() if not scripts else ():
        refuse_absent(workloads[name], loops[name], revision, commits[name], f"--{name}")
    with ExitStack() as stack:
        places = dict.fromkeys(asked, working_tree() if commits else None)
        for name, commit in commits.items():
            places[name] = stack.enter_context(worktree(commit))
        own_loops = not commits
        launchers: dict[str, Launcher] = dict.fromkeys(asked, ForkServer(own_loops=own_loops)) if shared else {}
        for (name, side), other in zip(asked.items(), (head, base), strict=True):
            if not shared and not scripts:
                server = SideServer(
                    side.python or OWN_INTERPRETER,
                    side.variables,
                    others=other.variables,
                    own_loops=own_loops,
                    limit_seconds=plan.limit_seconds,
                )
                launchers[name] = stack.enter_context(server)

        def prepared(name: str, side: SideOptions) -> PreparedSide:
            assignment = Assignment(
                workload=workloads[name],
                loop=loops[name],
                device=plan.device,
                size=cast(Size, plan.size),
                batch_size=plan.batch_size,
                seed=plan.seed,
                threads=threads[name],
                cores=cores[: max(threads.values())],
                compile_cache=Path(),
                neighbours=1,
                log=Path(),
                tree=places[name],
                slowdown=slowdown if name == "head" else 0.0,
            )
            launcher: Launcher | Script
            if name in scripts:
                tree = places[name]
                launcher = Script(scripts[name], side.variables, tree.folder if tree else Path.cwd())
            else:
                launcher = launchers[name]
            return PreparedSide(name, side.given, commits.get(name, "")[:12] or None, assignment, launcher)

        yield PreparedComparison(prepared("base", base), prepared("head", head), shared)


def _refuse_unknown(workload: str, loop: str, device: str) -> None:
    try:
        lacks = find_workload(workload).lacks() or find_loop(loop).lacks(torch.device(device))
    except BadSpec as error:
        raise BadInput(str(error)) from error
    if lacks:
        raise NotComparable(lacks)
