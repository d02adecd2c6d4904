"""The work of torch.compile in words, before layout."""

from collections.abc import Iterator

from loopmark.bench.records.compilation import Compilation
from loopmark.bench.report import format as show
from loopmark.bench.report.text import elide, plain

MOST_BREAKS = 3  # in a remark; the run's file has all
REASON_LENGTH = 160
NO_BREAK = "torch names no graph break; see whether TORCH_COMPILE_DISABLE or torch.compiler.set_stance is in use"


def graphs(per_step: float | None) -> str:
    """``2`` or ``0.4``: the graphs of a step, or their mean over steps; absent if unknown."""
    return show.ABSENT if per_step is None else f"{per_step:.2g}"


def remarks(one: Compilation, where: str = "") -> Iterator[str]:
    """The graphs, where they break, and what compiling cost ``where``; or why nothing was compiled."""
    breaks = [f"{plain(each.place)} ({elide(each.reason, REASON_LENGTH)})" for each in one.breaks[:MOST_BREAKS]]
    if more := len(one.breaks) - len(breaks):
        breaks.append(f"{more} more")
    places = ", ".join(breaks)
    if not one.compiled:
        yield f"nothing of it was compiled: {places or NO_BREAK}"
        return
    number = "an unknown number of" if one.graphs_per_step is None else graphs(one.graphs_per_step)
    step = f"{number} graph{'' if one.graphs_per_step == 1 else 's'} a step"
    yield f"{step}, broken at {places}" if breaks else step
    compiled = f"{show.count(one.compiled)} graph{'' if one.compiled == 1 else 's'} compiled"
    late = f", {show.count(one.late)} of them in timed steps" if one.late else ""
    share = f", {show.percent(one.share)} of its time" if one.share is not None else ""
    yield f"{compiled}{where}{late}: {show.seconds(one.seconds)}{share}"
    if one.again:
        because = f", the last because {elide(one.again_because, REASON_LENGTH)}" if one.again_because else ""
        yield f"{show.count(one.again)} of them compiled again: {show.seconds(one.again_seconds)}{because}"
    if one.limit_reached:
        yield f"torch's limit was reached ({plain(one.limit_reached)}): what would need another graph runs uncompiled"
