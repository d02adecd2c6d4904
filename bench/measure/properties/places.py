"""Where in a loop's own text something happens, as ``file.py:12``, and how explanations name things."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, GeneratorType
from typing import Any

import torch

from loopmark.loops.user_code import place_among

AFTER = "the code after the last yield"
STOPS = "the step does not come to its end"
"""Why a property cannot be told of it."""
SHOWN = 3


def phase_name(phase: str) -> str:
    """A phase as it is written; "" is what comes after the last yield."""
    return f"`{phase}`" if phase else AFTER


def listed(names: Iterable[str], shown: int = SHOWN) -> str:
    """The first few names, and how many more there are."""
    all_names = list(names)
    more = len(all_names) - shown
    return ", ".join(all_names[:shown]) + (f" and {more} more" if more > 0 else "")


def places(found: Sequence[str]) -> str:
    """Lines, each once, in their order."""
    return listed(dict.fromkeys(found))


TORCH = Path(torch.__file__).parent
_HERE = Path(__file__).parent
_INNOCENT = tuple(str(TORCH / part) for part in ("optim", "amp"))


def frames_within(outermost: CodeType | None) -> list[FrameType]:
    """The frames that are running, innermost first and without our own, up to the one that runs ``outermost``."""
    found: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not outermost:
        if Path(frame.f_code.co_filename).parent != _HERE:
            found.append(frame)
        frame = frame.f_back
    return found


def place_within(frames: Iterable[FrameType]) -> str:
    """The loop's own line among ``frames``, which come innermost first."""
    return place_among([(frame.f_code.co_filename, frame.f_lineno) for frame in frames][::-1])


def torchs_own_doing(frames: Iterable[FrameType]) -> bool:
    """Whether what the innermost frame does is the business of torch's optimizers or gradient scaler, not the loop's.

    Adam reads its step counter where that lies on the CPU; a scaler asks the device whether to skip.
    """
    for frame in frames:
        filename = frame.f_code.co_filename
        if filename.startswith(_INNOCENT):
            return True
        if not filename.startswith((str(TORCH), "<")):
            return False
    return False


def frames_of_yield(step: Any) -> Iterator[FrameType]:
    """Where ``step`` waits since its last yield: its own frame, and that of each generator which one yields from."""
    while isinstance(step, GeneratorType) and step.gi_frame is not None:
        yield step.gi_frame
        step = step.gi_yieldfrom


def place_of_yield(step: Any) -> str:
    """Where ``step`` has just yielded."""
    return place_among([(frame.f_code.co_filename, frame.f_lineno) for frame in frames_of_yield(step)])


def said_outright(frames: Sequence[FrameType]) -> bool:
    """Whether the innermost frame is the loop's own code, and not torch's, whose compiler waits as it tries kernels."""
    return not frames or not frames[0].f_code.co_filename.startswith(str(TORCH))
