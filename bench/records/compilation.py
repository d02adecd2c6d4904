"""The work of torch.compile in one launch, as torch itself counts it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GraphBreak:
    """A place where a compiled graph ends, and Python runs until the next one begins."""

    place: str  # `model.py:12`, the innermost line of the person's own code
    reason: str  # in torch's words


@dataclass(frozen=True)
class Compilation:
    """A loop's graphs, without backward graphs (each belongs to another graph); their time counts. None: unknown."""

    compiled: int  # graphs compiled in the whole launch
    late: int  # of these, the ones after the warm-up, in timed steps
    seconds: float  # the time of all compilation
    launch_seconds: float | None = None  # set-up, warm-up and turns of the launch
    again: int | None = None  # graphs compiled for code that already had one
    again_seconds: float | None = None
    again_because: str | None = None  # torch's reason for the last of them
    limit_reached: str | None = None  # torch's limit of compiling the same code again: `recompile_limit=8`
    breaks: tuple[GraphBreak, ...] = ()
    graphs_per_step: float | None = None  # the mean number of graphs that the last few steps called

    @property
    def share(self) -> float | None:
        """The share of the launch's own time that went into compilation, 0 to 1."""
        return min(1.0, self.seconds / self.launch_seconds) if self.launch_seconds else None

    @property
    def break_places(self) -> str:
        return "; ".join(dict.fromkeys(one.place for one in self.breaks))


def labelled(loop: str, compilation: Compilation | None, *, repeat: bool = False) -> str:
    """The name of a loop as it is shown, which says so if it is repeated, or if torch.compile was used in vain."""
    vain = compilation is not None and not compilation.compiled
    return f"{loop}{' (again)' if repeat else ''}{' (not compiled)' if vain else ''}"
