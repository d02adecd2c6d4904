"""What of two runs can be compared fairly, metric by metric; and what cannot, with the reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from loopmark.bench.judge.comparison import BASELINE
from loopmark.bench.judge.finding import Unit
from loopmark.bench.judge.launches import Logs, memory_logs, phase_logs, ratio_logs, step_logs
from loopmark.bench.judge.side import Key, Member, Side, same_machine
from loopmark.bench.judge.thresholds import MEMORY, RATIO, STEP

HASH_LENGTH = 12


@dataclass(frozen=True)
class Look:
    """One metric of one loop that both sides have, not yet judged."""

    key: Key
    metric: str
    unit: Unit
    base: Logs
    head: Logs
    decides: bool
    noise_floor: float | None = 0.0
    """The larger of both runs', as a share; None where neither measured one. 0 for metrics that it is not about."""


@dataclass
class Looks:
    """What going over two runs, loop by loop, comes upon."""

    fair: list[Look] = field(default_factory=list)
    broken: list[tuple[Key, Member, str]] = field(default_factory=list)
    """Loops that trained in the baseline and do not now: the baseline's case, and what became of it."""
    missing: list[tuple[Key, str, Member, str]] = field(default_factory=list)
    """Metrics that decide, that the baseline has and the run was asked for in vain: the baseline's case, and why."""
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Why something cannot be compared, and the names of the loops of which that holds."""

    def refuse(self, reason: str, key: Key) -> None:
        """Leave something of the loop ``key`` out, and say why."""
        self.refused.setdefault(reason, []).append(" ".join(key))


def look_over(base: Side, head: Side, asked: Mapping[str, float]) -> Looks:
    """Everything of ``head`` that can be compared with ``base``.

    A loop is compared where both sides measured it at the same work: batch size, data, size, parameters, and on one
    machine the threads. A loop that trained in the baseline and lost its loss now is broken, wherever it ran. So is one
    that failed on the same machine, and one that was skipped there is missing; another machine may well have less
    memory, or lack what a loop needs, and there both are named and no more.

    Args:
        asked: the phases that have a threshold of their own, and with it a say in the outcome.
    """
    looks = Looks()
    for key in dict.fromkeys([*base.members, *head.members]):
        before, now = base.members.get(key), head.members.get(key)
        if before is None or now is None:
            looks.refuse(f"only the {'run' if before is None else 'baseline'} has it", key)
        elif before.ailment is not None:
            if not before.row.case.status == now.row.case.status == "skipped":
                looks.refuse(f"in the baseline it {before.ailment}", key)
        elif reason := _other_work(base, head, before, now):
            looks.refuse(reason, key)
        elif now.broken and (same_machine(base, head) or now.row.lost_at_step is not None):
            looks.broken.append((key, before, now.ailment or ""))
        elif now.row.case.status == "skipped" and same_machine(base, head):
            looks.missing.append((key, STEP, before, f"in the run it {now.ailment}"))
        elif now.ailment is not None:
            looks.refuse(f"in the run it {now.ailment}", key)
        else:
            _look_at(looks, key, base, head, asked)
    return looks


def _other_work(base: Side, head: Side, before: Member, now: Member) -> str | None:
    """In what two cases of one name are different work; None where they are the same."""
    a, b = before.row.case, now.row.case
    plans = base.run.plan, head.run.plan
    facts: dict[str, tuple[object, object]] = {
        "batch sizes": (a.batch_size, b.batch_size),
        "data": (a.data_sha256, b.data_sha256),
        "sizes": (plans[0].size, plans[1].size),
        "numbers of parameters": (a.parameters, b.parameters),
        "numbers of threads": (plans[0].threads, plans[1].threads) if same_machine(base, head) else (None, None),
    }
    for what, sides in facts.items():
        # Of a case that ended early little is known, which is not to say that it is other work.
        if sides[0] != sides[1] and (b.status == "ok" or None not in sides):
            x, y = ("unknown" if side is None else str(side) for side in sides)
            if what == "data":
                x, y = f"SHA-256 {x[:HASH_LENGTH]}", y[:HASH_LENGTH]
            return f"different {what}, {x} in the baseline and {y} in the run"
    return None


def _look_at(looks: Looks, key: Key, base: Side, head: Side, asked: Mapping[str, float]) -> None:
    """Add what can be compared of a loop that both sides measured at the same work."""
    before, now, floor = base.members[key], head.members[key], _noise_floor(base, head, key[0])
    ratios = _ratios(key, base, head)
    if ratios is not None:
        looks.fair.append(Look(key, RATIO, "ratio", *ratios, decides=True, noise_floor=floor))
    if same_machine(base, head):
        steps = step_logs(before.rounds), step_logs(now.rounds)
        # Without eager on both sides a loop's seconds are all there is to decide by.
        looks.fair.append(Look(key, STEP, "seconds", *steps, decides=ratios is None, noise_floor=floor))
        looks.fair += [*_memory(looks, key, before, now), *_phases(looks, key, before, now, asked)]
    elif ratios is None and key[1] != BASELINE:
        looks.refuse("on another machine only ratios to eager compare, and eager is not there on both sides", key)


def _noise_floor(base: Side, head: Side, workload: str) -> float | None:
    floors = [side.noise_floor(workload) for side in (base, head)]
    return max((floor for floor in floors if floor is not None), default=None)


def _ratios(key: Key, base: Side, head: Side) -> tuple[Logs, Logs] | None:
    logs = []
    for side in (base, head):
        eager = side.eager(key[0])
        if key[1] == BASELINE or eager is None:
            return None
        logs.append(ratio_logs(side.members[key].rounds, eager.rounds))
    return (logs[0], logs[1]) if all(map(len, logs)) else None


def _memory(looks: Looks, key: Key, before: Member, now: Member) -> Iterator[Look]:
    cases = before.row.case, now.row.case
    base, head = map(memory_logs, cases)
    if not len(base) or not len(head):
        return
    if cases[0].memory_kind == cases[1].memory_kind:
        yield Look(key, MEMORY, "bytes", base, head, decides=True)
    else:
        kinds = " and ".join(str(case.memory_kind) for case in cases)
        looks.refuse(f"peak memory counts different things, {kinds}", key)


def _phases(looks: Looks, key: Key, before: Member, now: Member, asked: Mapping[str, float]) -> Iterator[Look]:
    base, head = phase_logs(before.laps), phase_logs(now.laps)
    for name in dict.fromkeys([*before.row.case.phases, *now.row.case.phases]):
        if name in base and name in head:
            yield Look(key, name, "seconds", base[name], head[name], decides=name in asked)
        elif name in base or name in head:
            only = f"phase {name} is in the {'baseline' if name in base else 'run'} only"
            if name in asked and name in base:  # a threshold that would never again be applied
                looks.missing.append((key, name, before, only))
            else:
                looks.refuse(only, key)
