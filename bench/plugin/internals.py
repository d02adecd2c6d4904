"""All that Loopmark knows of pytest-benchmark's internals: how a test comes to have more than one row.

The public API gives a test one row. Its table, JSON, CSV and comparison all go over one list of rows, and a row is an
object of the class that the public ``benchmark.stats`` is of. So a phase's row is made by that class and tried out,
and only when every one answers as it should do they join the list.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

PHASE, WHOLE_STEP = "phase", "step"
"""The parameter that tells the rows of one test apart, for ``--benchmark-group-by=param:phase``; the total's value."""


@dataclass
class _Fixture:
    """What a row reads from the fixture that it belongs to."""

    name: str
    fullname: str
    group: str
    param: str
    params: dict[str, Any]
    extra_info: dict[str, Any]
    cprofile_stats: None = None
    has_error: bool = False


def add_phases(
    config: pytest.Config, benchmark: Any, phases: Mapping[str, Sequence[float]], rounds_per_launch: Sequence[int] = ()
) -> str | None:
    """Give each phase a row, its data in seconds a step; None when they have them, else what is missing for that.

    A phase is one more parameter of the test: ``test_step[resnet]`` has ``test_step[resnet-forward]``, in the group
    ``resnet forward`` where the total's is ``resnet``.
    """
    try:
        total = benchmark.stats
        rows = [_row(total, phase, values, rounds_per_launch) for phase, values in phases.items()]
        config._benchmarksession.benchmarks.extend(rows)  # type: ignore[attr-defined]
        listed = {id(row) for row in config._benchmarksession.benchmarks}  # type: ignore[attr-defined]
        if not listed.issuperset(map(id, [total, *rows])):
            return "BenchmarkSession.benchmarks does not keep the rows that it is given"
        if PHASE not in (total.params or {}):
            total.params = {**(total.params or {}), PHASE: WHOLE_STEP}
    except Exception as error:  # whatever it has become
        return f"{type(error).__name__}: {error}"
    return None


def _row(total: Any, phase: str, values: Sequence[float], rounds_per_launch: Sequence[int]) -> Any:
    param = f"{total.param}-{phase}" if total.param else phase
    fixture = _Fixture(
        name=_with_param(total.name, phase),
        fullname=_with_param(total.fullname, phase),
        group=f"{total.group} {phase}",
        param=param,
        params={PHASE: phase, **(total.params or {})},
        extra_info={"loopmark": {PHASE: phase, "rounds_per_launch": list(rounds_per_launch)}},
    )
    row = type(total)(fixture, iterations=1, options=total.options)
    for value in values:
        row.update(value)
    _try_out(row, fixture, values)
    return row


def _try_out(row: Any, fixture: _Fixture, values: Sequence[float]) -> None:
    """Raise what is wrong, should the row not give back what it was given, in the ways that it will be asked."""
    flat, whole = row.as_dict(include_data=False, flat=True), row.as_dict(include_data=True)
    for name in ("name", "fullname", "group", "param", "params", "extra_info"):
        if flat[name] != getattr(fixture, name):
            raise TypeError(f"a row's {name} is {flat[name]!r}, not {getattr(fixture, name)!r}")
    mean = statistics.fmean(values)
    if not (row and math.isclose(flat["mean"], mean) and math.isclose(row["mean"], mean)):
        raise TypeError("a row's mean is not that of its data")
    if list(whole["stats"]["data"]) != list(values) or row.has_error:
        raise TypeError("a row does not give its data back")


def _with_param(name: str, phase: str) -> str:
    """``test_step[resnet-forward]`` of ``test_step[resnet]``: what stands before the bracket is the function."""
    return f"{name[:-1]}-{phase}]" if name.endswith("]") else f"{name}[{phase}]"
