"""The look of every plot: colours that colour-blind readers can distinguish, and literal text.

A colour means one thing. A phase's fill is light, a loop's line has a middle lightness, and a verdict is dark, so that
no reader can take one for another. ``tests/report/test_colours.py`` measures how far they are apart.
"""

import io
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, cycle
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from matplotlib.typing import LineStyleType

from loopmark.bench.report.text import ELLIPSIS, HEAD, plain, told_apart
from loopmark.phases import ALL

BLACK, MUTED, GREY = "#000000", "#555555", "#8A8A8A"
LIGHT_INK, DARK_INK = "#FEFEFE", "#010101"  # on a coloured ground; a dark page replaces pure white and black
FASTER, SLOWER = "#003F5C", "#6B2E00"
PHASE_COLOURS = {phase.name: phase.colour for phase in ALL}
SPARE_COLOURS = (GREY, "#EFEFEF")  # for phases that a step names itself
LOOPS = {
    "#3853F4": ("compile", "deterministic", "amp_fp16+compile"),
    "#CC2132": ("amp_bf16", "graph_phases", "compile_optimizer"),
    "#0F775F": ("fused_optimizer", "compile_max_autotune"),
    "#AD34AE": ("fused_optimizer+compile", "cudnn_benchmark", "amp_fp16"),
    "#8B9C02": ("channels_last", "foreach_optimizer", "amp_bf16+compile"),
    "#1E97ED": ("tf32", "compile_reduce_overhead", "checkpoint"),
    "#C27B9D": ("cuda_graph", "graph_model", "channels_last+compile"),
}
"""The colours of loops, each with contrast 3 to light and dark paper, and the loops that always have it."""
LINE_COLOURS = tuple(LOOPS)
LOOP_COLOURS = {loop: colour for colour, loops in LOOPS.items() for loop in loops} | {"eager": BLACK}
DASHES: tuple[LineStyleType, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))
MOST_APART = 8  # lines of one plot, besides the baseline's, that colours and dashes can distinguish
GRID, BEHIND = "#E4E4E4", "#C4C4C4"  # grid lines, and lines of loops in the background
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")

LARGEST = 1e100  # the largest value that is drawn
NAME_INCHES = 1.75
SMALL = 7.5
SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,  # a loop named $x$ is not a formula
    "axes.unicode_minus": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 9.0,
    "axes.axisbelow": True,
    "svg.hashsalt": "loopmark",
    "svg.fonttype": "path",  # text becomes paths, which look the same without this font
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}


@dataclass(frozen=True)
class LineStyle:
    """The look of one loop in every plot of a run."""

    label: str  # its name, shortened to fit, and unique
    colour: str
    dash: LineStyleType
    marker: str
    width: float = 1.4
    behind: bool = False  # True for a line in the background: grey, and below the others

    @property
    def line(self) -> dict[str, Any]:
        """The arguments of its line for matplotlib."""
        zorder = 1.5 if self.behind else 2.0
        return {"color": self.colour, "linestyle": self.dash, "linewidth": self.width, "zorder": zorder}

    def proxy(self, more: str = "", marker: str = "") -> Line2D:
        """A legend entry, with ``more`` after the name."""
        label = f"{self.label}{more}"
        return Line2D([], [], marker=marker, markeredgecolor="white", markersize=8, label=label, **self.line)


def styled() -> AbstractContextManager[None]:
    """A context with the settings for making and saving figures."""
    return matplotlib.rc_context(SETTINGS)


def line_styles(loops: Iterable[tuple[str, bool]], base: set[str], first: Sequence[str] = ()) -> dict[str, LineStyle]:
    """A style for each label, the same on every workload, its colour the same in every run.

    The baseline's line is wide. Loops that share a colour differ in dashes and markers. Those beyond the number that
    can be told apart are grey.

    Args:
        loops: each label, and True for the baseline's repetition.
        base: the baseline's labels, which may differ between workloads.
        first: labels in order of interest; the order of ``loops`` applies to all others.
    """
    others = dict(loops)
    shown = fitted_all(others)
    styles = {label: LineStyle(shown[label], GREY, DASHES[2], "x") for label, repeat in others.items() if repeat}
    styles |= {label: LineStyle(shown[label], loop_colour(label), "-", "o", 1.8) for label in others if label in base}
    plain_ones = [label for label in others if label not in styles]
    if len(plain_ones) > MOST_APART:
        wanted = sorted(plain_ones, key=lambda label: first.index(label) if label in first else len(first))
        behind = wanted[len(LINE_COLOURS) :]
        styles |= {label: LineStyle(shown[label], BEHIND, "-", ".", 0.8, behind=True) for label in behind}
    turns = Counter(look.colour for look in styles.values())
    for label in plain_ones:
        if label not in styles:
            colour = loop_colour(label)
            place = LINE_COLOURS.index(colour) + 1 if colour in LINE_COLOURS else 0
            dash, marker = DASHES[turns[colour] % len(DASHES)], MARKERS[(place + 3 * turns[colour]) % len(MARKERS)]
            styles[label] = LineStyle(shown[label], colour, dash, marker)
            turns[colour] += 1
    return styles


def loop_colour(label: str) -> str:
    """A loop's colour, the same in every report: a fixed one for usual loops, and one chosen by the name for others."""
    name = label.partition(" (")[0]  # without a remark such as "not compiled"
    return LOOP_COLOURS.get(name) or LINE_COLOURS[zlib.crc32(name.encode(errors="replace")) % len(LINE_COLOURS)]


def mark(label: str, marker: str, colour: str, size: float = 8.0, **look: Any) -> Line2D:
    """A legend entry of a marker without a line."""
    return Line2D([], [], linestyle="", marker=marker, color=colour, markersize=size, label=label, **look)


def legend(looks: Iterable[LineStyle], *, as_markers: bool = False) -> list[Line2D]:
    """An entry for each of ``looks``, a line or its marker; all those in the background share the last one."""
    looks = list(looks)
    shown = [look for look in looks if not look.behind]
    entries = [mark(look.label, look.marker, look.colour, 7) if as_markers else look.proxy() for look in shown]
    if behind := len(looks) - len(shown):
        others = f"{behind} other loop{'' if behind == 1 else 's'}"
        line = Line2D([], [], color=BEHIND, linewidth=0.8, label=others)
        entries.append(mark(others, ".", BEHIND, 7) if as_markers else line)
    return entries


def phase_colours(phases: Sequence[str]) -> dict[str, str]:
    """A colour for each phase: fixed for the usual phases, a spare one in turn for others."""
    spare = cycle(SPARE_COLOURS)
    return {phase: PHASE_COLOURS.get(phase) or next(spare) for phase in phases}


def drawn(values: "pd.Series[float]") -> "pd.Series[bool]":
    """True for each value that an axis can hold: limits near the largest float overflow."""
    return values.abs() < LARGEST


def fitted(text: str, inches: float = NAME_INCHES, size: float = 9.0) -> str:
    """``text`` on one line in characters of the font, shortened like ``elide`` to ``inches`` at ``size`` points."""
    line = drawable(plain(text))
    room = inches * 72 / size
    if _reach(line, room) == len(line):
        return line
    room -= _advance(ELLIPSIS)
    if " " in line:
        return line[: _reach(line, room)].rstrip() + ELLIPSIS
    head = line[: _reach(line, HEAD * room)]
    tail = _reach(line[::-1], room - sum(map(_advance, head)))
    return head + ELLIPSIS + line[len(line) - tail :]


def fitted_all(names: Iterable[str], inches: float = NAME_INCHES, size: float = 9.0) -> dict[str, str]:
    """The ``fitted`` form of each name, no two alike."""
    return told_apart(names, lambda name: fitted(name, inches, size))


def _reach(line: str, room: float) -> int:
    """The number of first characters that fit into ``room``, given in multiples of the font's size."""
    return sum(end <= room for end in accumulate(map(_advance, line)))


def drawable(text: str) -> str:
    """``text`` with every character that the font lacks (emoji, …) replaced: matplotlib warns of those."""
    return "".join(c if ord(c) in _glyphs() else "?" for c in text)


def log_ticks(axis: Axis, low: float, high: float, text: Callable[[float], str], most: int = 6) -> None:
    """Set round ticks from ``low`` to ``high`` on a logarithmic axis, labelled by ``text``."""
    values = round_values(low, high, most)
    fixed_ticks(axis, values, [text(value) for value in values])


def log_scale(axis: Axis, low: float, high: float, text: Callable[[float], str], label: str) -> None:
    """Make ``axis`` logarithmic from ``low`` to ``high``, with round ticks labelled by ``text``."""
    name = "x" if axis is axis.axes.xaxis else "y"
    axis.axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    axis.set_label_text(label)
    log_ticks(axis, low, high, text)


def fixed_ticks(axis: Axis, values: Sequence[float], labels: Sequence[str]) -> None:
    """Set ticks at ``values`` only."""
    axis.set_major_locator(FixedLocator(values))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FixedFormatter(labels))


def round_values(low: float, high: float, most: int) -> list[float]:
    """At most ``most`` (two or more) round values between two positive ones, dense enough to read."""
    if high <= low or high > 1e300:  # above, the next decade overflows a float
        return [low]
    if high / low < 6:
        step = 10.0 ** math.floor(math.log10((high - low) / most))
        while math.floor(high / step) - math.ceil(low / step) >= most:
            step *= 2.5 if f"{step:e}"[0] == "2" else 2
        return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    for digits in ((1, 2, 5), (1, 3), (1,)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [d * 10.0**decade for decade in decades for d in digits if low <= d * 10.0**decade <= high]
        if len(values) <= most:
            return values
    return values[:: math.ceil(len(values) / most)]


def save(figure: Figure, kind: str) -> bytes:
    """The figure as ``png`` or ``svg``, the same figure always gives the same bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with styled():
        figure.savefig(buffer, format=kind, dpi=140, metadata=metadata)
    return buffer.getvalue()


def _font() -> FT2Font:
    # matplotlib's cached font, reopened after a fork: parent and child would share one read position in an open file.
    return get_font(findfont(FontProperties(family="DejaVu Sans")))


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(_font().get_charmap())


@cache
def _advance(character: str) -> float:
    """The width of a character, in multiples of the font's size."""
    font = _font()
    font.set_size(100, 72)
    # Unhinted, like the linear advance.
    return font.load_char(ord(character), flags=LoadFlags.NO_HINTING).linearHoriAdvance / 65536 / 100
