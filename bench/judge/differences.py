"""The differences between the machines and environments of runs, fact by fact: the first suspects of any change."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loopmark.bench.records.machine import Environment, Machine, facts_of
from loopmark.bench.records.run import Run

# Variables that scikit-learn and torch set if unset; none of them changes a step's speed.
SET_BY_LIBRARIES = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR"}
NONE = "none"
UNKNOWN = "unknown"  # a fact that an imported run lacks; unknown facts are never reported as differences


class Facts(NamedTuple):
    """A run's facts by name, in order. ``silent`` replaces missing facts and None; if it is None, they are ignored."""

    by_name: Mapping[str, object]
    silent: str | None

    def text(self, name: str) -> str | None:
        fact = self.by_name.get(name)
        return self.silent if fact is None else str(fact)


def differences(base: Run, head: Run) -> tuple[str, ...]:
    """The differences in hardware, software, settings and data, such as ``torch 2.12.0 → 2.13.0``."""
    return _sentences(unlike([base, head]))


def environment_differences(base: Environment, head: Environment) -> tuple[str, ...]:
    return _sentences(_unlike([_surroundings(base, NONE), _surroundings(head, NONE)]))


def unlike(runs: Sequence[Run]) -> dict[str, tuple[str | None, ...]]:
    """The facts that differ among ``runs``, each with its value in every run; None if a run has no value."""
    return _unlike([_groups(run) for run in runs])


def _unlike(everyones: Sequence[Sequence[Facts]]) -> dict[str, tuple[str | None, ...]]:
    groups = list(zip(*everyones, strict=True))
    told = {name: tuple(facts.text(name) for facts in group) for group in groups for name in _names(group)}
    return {name: values for name, values in told.items() if len({*values} - {None, UNKNOWN}) > 1}


def _sentences(unlike: Mapping[str, tuple[str | None, ...]]) -> tuple[str, ...]:
    return tuple(f"{name} {base} → {head}" for name, (base, head) in unlike.items())


def _groups(run: Run) -> tuple[Facts, ...]:
    silent = NONE if run.imported_from is None else UNKNOWN
    facts = {name: getattr(run.plan, name) for name in ("device", "size", "launches", "baseline")}
    settings = {"seed": run.plan.seed, "seconds a block": run.plan.block_seconds}
    plan = Facts({**facts, **(settings if run.imported_from is None else dict.fromkeys(settings))}, silent)
    known = {case.workload: case.data_sha256[:12] for case in run.cases if case.data_sha256 is not None}
    data = Facts({f"data of {name}, SHA-256": sha256 for name, sha256 in known.items()}, silent=None)
    return (*_surroundings(run.machine, silent), *_surroundings(run.environment, silent), plan, data)


def _surroundings(record: Machine | Environment, silent: str) -> tuple[Facts, ...]:
    """The facts of ``record``. Packages and variables are separate groups, since runs have different names there."""
    groups: list[dict[str, str | None]] = [{}]
    for fact, value in facts_of(record):
        if fact.label == "packages":  # torch's own version is a fact already
            groups += [{f"package {name}": version for name, version in value.items() if name != "torch"}, {}]
        elif fact.label == "variables":
            groups += [{name: text for name, text in value.items() if name not in SET_BY_LIBRARIES}, {}]
        else:
            groups[-1][fact.label] = fact.text(value) if value != () or silent == NONE else None
    return tuple(Facts(group, silent) for group in groups)


def _names(group: Sequence[Facts]) -> list[str]:
    """The names in their common order, or else in alphabetical order."""
    orders = {tuple(facts.by_name) for facts in group}
    return list(orders.pop()) if len(orders) == 1 else sorted({name for names in orders for name in names})
