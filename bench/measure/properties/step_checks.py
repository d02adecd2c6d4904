"""Checks of single steps: the phases that they yield, the work in each phase, and the state that must not change."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from loopmark.bench.measure.clock import known_phases
from loopmark.bench.measure.properties.prepared_loop import Stopped, phase_name
from loopmark.bench.measure.properties.recorder import CLOSURE, What
from loopmark.bench.measure.properties.step_trace import (
    ACCUMULATES,
    CLOSURE_RUNS,
    STOPS,
    WHOLE,
    Lap,
    LoopUnderTest,
    NotApplicable,
    StepTrace,
    listed,
    places,
    property_check,
    watch,
)
from loopmark.phases import DATA, FOR_EACH_PART, PHASES, YIELDED

HOMES: dict[What, tuple[str, str]] = {
    "zero_grad": ("zero_grad", "the gradients are cleared"),
    "model": ("forward", "the model is called"),
    "loss_fn": ("loss", "the loss is computed"),
    "backward": ("backward", "the backward pass runs"),
    "update": ("optimizer", "the optimizer steps"),
}
"""The phase that each kind of work belongs to, and its wording in a message."""


@property_check
def phases_in_order(loop: LoopUnderTest) -> str | None:
    """The step yields every phase in order, with phases of its own anywhere; parts of a batch, or updates, repeat."""
    _refuse_unordered(loop)
    for trace in loop.traces:
        if trace.phases or not trace.fault:
            known_phases(trace.phases)
        if not trace.fault and (disorder := _disorder(trace, loop.prepared.task.has_loss_fn)):
            return disorder
    first = loop.traces[0].phases
    if other := next((trace.phases for trace in loop.traces if trace.phases != first and not trace.fault), None):
        return (
            f"yields different phases in different steps: {', '.join(first)} and then {', '.join(other)}; "
            "name the same ones each time"
        )
    return None


def _refuse_unordered(loop: LoopUnderTest) -> None:
    """Raise NotApplicable for a step whose work has no phases of its own."""
    if any(trace.is_whole for trace in loop.traces):
        raise NotApplicable(WHOLE)
    if any(trace.has_closure for trace in loop.traces):
        raise NotApplicable(CLOSURE_RUNS)


def _disorder(trace: StepTrace, has_loss_fn: bool) -> str | None:
    phases = tuple(phase for phase in trace.phases if phase in PHASES)  # a step's own may come anywhere
    shown, wanted = listed(trace.phases, 12), ", ".join(YIELDED)
    if DATA in phases:
        return f"yields `{DATA}`, which is timed before the step begins; leave that yield out"
    order = tuple(phase for phase in YIELDED if phase in phases or has_loss_fn or phase != "loss")
    if missing := [phase for phase in order if phase not in phases]:
        return (
            f"has no phase {', '.join(map(phase_name, missing))}: yields {shown}; yield each of {wanted} "
            "as its work ends"
        )
    parts = tuple(phase for phase in order if phase in FOR_EACH_PART)
    due = {*pairwise(("", *order, "")), (parts[-1], parts[0])}
    if phases[-1] == order[-1]:  # several updates in a step, as for a GAN
        due |= {(order[-1], order[0]), (order[-1], parts[0])}
    if {*pairwise(("", *phases, ""))} <= due:
        return None
    laps = [lap for lap in trace.laps if lap.phase in phases]
    steps = zip(pairwise(("", *phases)), laps, strict=False)
    wrong = next((lap for pair, lap in steps if pair not in due), laps[-1])
    why = "again" if phases.count(wrong.phase) > 1 else "out of order"
    return (
        f"yields phases out of order: {phase_name(wrong.phase)} comes {why} at {wrong.place}; yields {shown}, "
        f"not {wanted}"
    )


@property_check
def only_optimizer_moves_parameters(loop: LoopUnderTest) -> str | None:
    """No parameter changes in any phase but `optimizer`."""
    if any(trace.is_whole for trace in loop.traces):
        raise NotApplicable(WHOLE)
    wrong = [lap for trace in loop.traces for lap in trace.ended if lap.moved and lap.phase != "optimizer"]
    if not wrong:
        return None
    first, phases = wrong[0], dict.fromkeys(lap.phase for lap in wrong)
    update = next((event for event in first.events if event.what == "update"), None)
    by_whom = f" (the optimizer's step at {update.place})" if update else first.where
    return (
        f"moves parameters in {' and in '.join(map(phase_name, phases))}, not only in `optimizer`: "
        f"{listed(first.moved)}{by_whom}; change them only by task.optimizer.step(), in `optimizer`"
    )


@property_check
def one_update(loop: LoopUnderTest) -> str | None:
    """Each training step calls the step of each optimizer once."""
    for trace in loop.traces:
        by_optimizer: dict[str, list[str]] = {}
        for _, event in trace.events:
            if event.what == "update":
                by_optimizer.setdefault(event.detail, []).append(event.place)
        updates = max(by_optimizer.values(), key=len, default=[])
        if len(updates) > 1:
            times = "twice" if len(updates) == 2 else f"{len(updates)} times"
            return (
                f"steps {times}: task.optimizer.step() is called {times} in one step, at {places(updates)}; "
                "call it once"
            )
        if trace.fault:
            break
        if not updates and loop.accumulates:
            raise NotApplicable(ACCUMULATES)
        if not updates:
            moved = any(lap.moved for lap in trace.laps)
            what = "other code moves the parameters" if moved else "the model learns nothing in this step"
            return (
                f"never steps: a step ends without a call of task.optimizer.step(), so {what}; call it in `optimizer`"
            )
    return None


@property_check
def work_in_its_phase(loop: LoopUnderTest) -> str | None:
    """The model is called in `forward`, the loss is computed in `loss`, gradients in `backward` and the update in
    `optimizer`, and gradients are cleared in `zero_grad`."""
    _refuse_unordered(loop)
    finders = (_calls_elsewhere, _operations_elsewhere, _gradients_elsewhere)
    told = (sentence for trace in loop.traces for find in finders for sentence in find(trace))
    own_loss = f"{HOMES['loss_fn'][1]} in"  # the model computes it in `forward`
    wrong = [s for s in dict.fromkeys(told) if loop.prepared.task.has_loss_fn or not s.startswith(own_loss)]
    if not wrong:
        return None
    remedy = "yield a phase's name right after its work, and before the next phase's work"
    if any(event.detail == CLOSURE for trace in loop.traces for _, event in trace.events):
        remedy = "the optimizer's closure computes it again: leave out the same work before it, or the closure"
    return f"computes in the wrong phase: {'; '.join(wrong[:4])}{' …' if len(wrong) > 4 else ''}; {remedy}"


def _calls_elsewhere(trace: StepTrace) -> Iterator[str]:
    for what, (home, done) in HOMES.items():
        if home not in trace.phases and not trace.fault:
            continue  # phases-in-order reports it
        calls = [(lap.phase, event.place) for lap in trace.ended for event in lap.events if event.what == what]
        for phase in dict.fromkeys(phase for phase, _ in calls if phase != home and phase in ("", *YIELDED)):
            found = [place for where, place in calls if where == phase]
            yield f"{done} in {phase_name(phase)}, not in `{home}` ({places(found)})"


def _operations_elsewhere(trace: StepTrace) -> Iterator[str]:
    """Faults by the phases that built the graph, for a loop that does not call the model or loss_fn directly."""
    called = {event.what for lap in trace.laps for event in lap.events}
    if not trace.roots or "backward" not in {lap.phase for lap in trace.ended}:
        return
    made = {
        next((lap.phase for lap in trace.ended if number < lap.operations), "")
        for root in trace.roots
        for number in root.numbers
    }
    for what in ("model", "loss_fn"):
        home, done = HOMES[what]
        before = sorted(made - {"backward", "optimizer", ""} - ({"forward"} if what == "loss_fn" else set()))
        if what not in called and home not in made and home in trace.phases and made:
            latest = before[-1] if before else max(made, key=(*YIELDED, "").index)
            yield f"{done} in {phase_name(latest)}, not in `{home}`"


def _gradients_elsewhere(trace: StepTrace) -> Iterator[str]:
    before: frozenset[str] = frozenset()
    for lap in trace.ended:
        calls = {event.what for event in lap.events}
        gone, changed = before - lap.graded, lap.regraded & lap.graded
        before = lap.graded
        if gone and lap.phase != "zero_grad" and "zero_grad" not in calls:
            yield _gradients_stray(gone, "are cleared", lap, "zero_grad")
        if changed and lap.phase in ("zero_grad", "forward", "loss", "") and not calls & {"backward", "update"}:
            yield _gradients_stray(changed, "change", lap, "backward")


def _gradients_stray(names: frozenset[str], what: str, lap: Lap, home: str) -> str:
    return f"the gradients of {listed(sorted(names))} {what} in {phase_name(lap.phase)}, not in `{home}`{lap.where}"


@property_check
def no_yield_in_with(loop: LoopUnderTest) -> str | None:
    """The step never yields inside a `with`, and turns off autocast and no_grad before each yield."""
    left = [(what, lap.phase) for trace in loop.traces for lap in trace.laps for what in lap.left_on]
    what, phase = left[0] if left else ("", "")
    when = f"the yield of {phase_name(phase)}" if phase else "the step's end"
    if held := [place for trace in loop.traces for place in trace.held_yields]:
        kept = f"; {what} is still on at {when}" if left else ""
        return (
            f"yields inside a `with` at {places(held)}, which stays open in the caller of the step{kept}; "
            "close it before the yield and open it again after"
        )
    if left:
        return f"leaves {what} on at {when}, and so in the caller of the step; turn it off before the yield"
    return None


@property_check
def batch_and_mode_kept(loop: LoopUnderTest) -> str | None:
    """The step changes no batch in place, and keeps the model's training mode."""
    for trace in loop.traces:
        if trace.changed_batch:
            return (
                f"changes the batch in place: {' and '.join(trace.changed_batch)} differ after the step, and a dataset "
                "in memory would change too; work on a copy"
            )
        if trace.changed_modes:
            names = (name.replace("_orig_mod.", "").removesuffix("_orig_mod") for name in trace.changed_modes)
            which = dict.fromkeys(name or "the whole model" for name in names)
            return (
                f"leaves {listed(which)} in another training mode than before the step; "
                "restore the mode within the step"
            )
    return None


@property_check
def no_hidden_synchronisation(loop: LoopUnderTest) -> str | None:
    """The step never makes the host wait for the device."""
    if said := _waits(loop.traces):
        return said
    if loop.fault:
        raise NotApplicable(STOPS)
    trace = watch(loop.prepared, for_waits=True)
    if trace.fault and trace.fault.hangs:
        raise Stopped(trace.fault)
    if trace.fault:  # the step runs without the watching, so the watching causes the fault
        raise NotApplicable(f"this step cannot be watched for waits ({trace.fault.text})")
    return _waits([trace])


def _waits(traces: Sequence[StepTrace]) -> str | None:
    found: dict[tuple[str, str], str] = {}
    for phase, event in (pair for trace in traces for pair in trace.events):
        if event.what == "wait":
            found.setdefault((phase, event.place), event.detail)
    if not found:
        return None
    shown = [f"in {phase_name(phase)}, {place} {what}" for (phase, place), what in found.items()]
    more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
    return (
        f"waits for the device: {'; '.join(shown[:3])}{more}; keep numbers on the device, and read task.last_loss "
        "between steps"
    )
