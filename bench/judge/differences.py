"""What differs between the surroundings of runs, named fact by fact: the first suspects of any change."""

from collections.abc import Iterator, Mapping, Sequence

from bench.records.machine import Environment, Gpu, Machine
from bench.records.run import Run

NONE = "none"
UNPINNED = "not pinned"

Facts = Mapping[str, str]
"""By their names, in the order in which they are told."""


def differences(base: Run, head: Run) -> tuple[str, ...]:
    """What differs in hardware, software, settings and data, such as ``torch 2.12.0 → 2.13.0``."""
    groups = [*zip(_groups(base), _groups(head), strict=True), (_plan(base), _plan(head)), _shared_data(base, head)]
    return tuple(dict.fromkeys(sentence for a, b in groups for sentence in _changed(a, b)))


def environment_differences(base: Environment, head: Environment) -> tuple[str, ...]:
    """What differs in software and settings."""
    groups = zip(_environment(base), _environment(head), strict=True)
    return tuple(sentence for a, b in groups for sentence in _changed(a, b))


def unlike(runs: Sequence[Run]) -> dict[str, tuple[str | None, ...]]:
    """The facts of ``differences`` that are not the same in all of ``runs``, each with what every run says of it.

    None where a run has no say: it did not use that data.
    """
    everyones = [_groups(run) for run in runs]
    told = [_told(group) for group in zip(*everyones, strict=True)] if runs else []
    told += [_told([_plan(run) for run in runs]), _told([_data(run) for run in runs], silent=None)]
    facts = {name: values for group in told for name, values in group.items()}
    return {name: values for name, values in facts.items() if len({*values} - {None}) > 1}


def _groups(run: Run) -> tuple[Facts, ...]:
    return (_machine(run.machine), *_environment(run.environment))


def _machine(machine: Machine) -> Facts:
    return _as_text(
        {
            "CPU": machine.cpu,
            "physical cores": machine.physical_cores,
            "logical cores": machine.logical_cores,
            "memory": machine.memory_bytes and f"{machine.memory_bytes / 2**30:.0f} GiB",
            "architecture": machine.architecture,
            "operating system": machine.operating_system,
            "GPUs": ", ".join(map(_gpu, machine.gpus)) or None,
        }
    )


def _gpu(gpu: Gpu) -> str:
    return gpu.name if gpu.memory_bytes is None else f"{gpu.name} {gpu.memory_bytes / 2**30:.0f} GiB"


def _environment(environment: Environment) -> tuple[Facts, ...]:
    """Packages and variables are groups of their own, whose names not every run has."""
    software = {
        "torch": environment.torch,
        "CUDA": environment.cuda,
        "cuDNN": environment.cudnn,
        "driver": environment.driver,
        "Python": environment.python,
        "compiler": environment.compiler,
        "CPU capability": environment.cpu_capability,
        "threads": environment.threads,
        "cores": ", ".join(map(str, environment.cores)) or UNPINNED,
        "huge pages": environment.huge_pages,
        "governor": environment.governor,
    }
    # torch has been named, by the version that it gives itself.
    packages = {f"package {name}": version for name, version in environment.packages.items() if name != "torch"}
    own = {"Loopmark": environment.loopmark, "revision": environment.revision}
    return _as_text(software), packages, environment.variables, _as_text(own)


def _plan(run: Run) -> Facts:
    plan = run.plan
    return _as_text(
        {
            "device": plan.device,
            "size": plan.size,
            "launches": plan.launches,
            "seed": plan.seed,
            "seconds a block": plan.block_seconds,
        }
    )


def _data(run: Run) -> Facts:
    known = {case.workload: case.data_sha256[:12] for case in run.cases if case.data_sha256 is not None}
    return {f"data of {name}, SHA-256": sha256 for name, sha256 in known.items()}


def _shared_data(base: Run, head: Run) -> tuple[Facts, Facts]:
    a, b = _data(base), _data(head)
    shared = [name for name in a if name in b]
    return {name: a[name] for name in shared}, {name: b[name] for name in shared}


def _as_text(facts: Mapping[str, object]) -> Facts:
    return {name: NONE if value is None else str(value) for name, value in facts.items()}


def _told(group: Sequence[Facts], silent: str | None = NONE) -> dict[str, tuple[str | None, ...]]:
    """Each fact with what every run says of it, where one that lacks it says ``silent``."""
    return {name: tuple(facts.get(name, silent) for facts in group) for name in _names(*group)}


def _changed(base: Facts, head: Facts) -> Iterator[str]:
    for name in _names(base, head):
        a, b = base.get(name, NONE), head.get(name, NONE)
        if a != b:
            yield f"{name} {a} → {b}"


def _names(*group: Facts) -> list[str]:
    """In the order that all agree on, or else of the alphabet."""
    same = len({tuple(facts) for facts in group}) == 1
    return list(group[0]) if same else sorted({name for facts in group for name in facts})
