"""In which phase a step was when it raised, told afterwards from the traceback: a step that goes well pays nothing."""

import dis
import inspect
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType, TracebackType

from loopmark.loops.task import Task
from loopmark.phases import DATA, PHASES


def phase_of(error: BaseException) -> str | None:
    """The phase that was under way when ``error`` came up; None where it came from no step, or cannot be told.

    A step names a phase as it ends, so it is the one that is named next in the step's own text. What comes after the
    last one counts for that one, as it does for the clock. A step that computes its names does not tell.
    """
    for trace in reversed(list(_traces(error.__traceback__))):
        code = trace.tb_frame.f_code
        if code is Task.next_batch.__code__:
            return DATA
        if named := list(_phases_named(code)):
            return next((phase for offset, phase in named if offset > trace.tb_lasti), named[-1][1])
    return None


def _traces(trace: TracebackType | None) -> Iterator[TracebackType]:
    """Every frame that the error passed through, outermost first."""
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _phases_named(code: CodeType) -> Iterator[tuple[int, str]]:
    """Each ``yield "phase"`` of a generator, as the offset of its instruction and the phase."""
    if code.co_flags & inspect.CO_GENERATOR:
        for named, instruction in pairwise(dis.get_instructions(code)):
            if instruction.opname == "YIELD_VALUE" and named.argval in PHASES:
                yield instruction.offset, named.argval
