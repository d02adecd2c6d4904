"""Colours that mean one thing, to readers with and without colour blindness, on light and on dark pages."""

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from loopmark.bench.report import pages, style
from loopmark.loops.catalog import TECHNIQUES

VISION = {
    "normal": np.eye(3),
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
}  # of linear RGB: Machado, Oliveira and Fernandes 2009, at full severity
CONES = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
OKLAB = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
"""Björn Ottosson 2020: a distance of 0.02 can just be seen."""
CSS = (Path(pages.__file__).parent / "templates/html/page.css").read_text("utf-8")
PAPERS = re.findall(r"--paper: (#\w+)", CSS)
VERDICTS = [tuple(re.findall(r"--(?:faster|slower): (#\w+)", line)) for line in CSS.splitlines() if "--faster:" in line]
PHASES = [*style.PHASE_COLOURS.values(), *style.SPARE_COLOURS]
LINES = [*style.LINE_COLOURS, style.BLACK]


def linear(colour: str) -> NDArray[np.float64]:
    parts = np.array(to_rgb(colour))
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def seen(colour: str, vision: str) -> NDArray[np.float64]:
    """Lightness and two opponent colours (3,)."""
    found: NDArray[np.float64] = OKLAB @ np.cbrt(CONES @ np.clip(VISION[vision] @ linear(colour), 0, 1))
    return found


def least_apart(pairs: Iterable[tuple[str, str]], vision: str) -> float:
    return min(float(np.linalg.norm(seen(one, vision) - seen(other, vision))) for one, other in pairs)


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2, from 1 to 21."""
    light, dark = sorted((float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("palette", "least"), [(PHASES, 0.06), (LINES, 0.10), ([style.FASTER, style.SLOWER], 0.12)])
def test_the_colours_of_one_palette_are_apart(palette: list[str], least: float, vision: str) -> None:
    assert least_apart(itertools.combinations(palette, 2), vision) > least


@pytest.mark.parametrize("vision", VISION)
def test_no_colour_of_a_phase_a_loop_or_a_verdict_is_near_one_of_another_palette(vision: str) -> None:
    palettes = [list(style.PHASE_COLOURS.values()), LINES[:-1], [style.FASTER, style.SLOWER]]
    for one, other in itertools.combinations(palettes, 2):
        assert least_apart(itertools.product(one, other), vision) > 0.06


@pytest.mark.parametrize("vision", VISION)
def test_phases_are_light_loops_in_the_middle_and_verdicts_dark(vision: str) -> None:
    declared, loops = style.PHASE_COLOURS.values(), style.LINE_COLOURS
    phases, lines, verdicts = (
        [seen(one, vision)[0] for one in palette] for palette in (declared, loops, (style.FASTER, style.SLOWER))
    )
    assert max(verdicts) < min(lines) <= max(lines) < min(phases)


def test_a_line_has_contrast_on_light_and_on_dark_paper() -> None:
    assert len(PAPERS) == 2
    assert min(contrast(line, paper) for line in style.LINE_COLOURS for paper in PAPERS) > 3


def test_a_verdict_can_be_read_on_its_paper_and_is_in_the_plot_as_in_the_table() -> None:
    assert VERDICTS[0] == (style.FASTER.lower(), style.SLOWER.lower())
    for paper, verdicts in zip(PAPERS, VERDICTS, strict=True):
        assert min(contrast(verdict, paper) for verdict in verdicts) > 7
    assert (pages.COLOURS[style.FASTER.lower()], pages.COLOURS[style.SLOWER.lower()]) == ("faster", "slower")


def test_the_share_in_a_phase_can_be_read() -> None:
    assert min(contrast(phase, style.DARK_INK) for phase in PHASES) > 4.5


def test_a_loop_has_its_colour_in_every_report() -> None:
    few = style.line_styles([("eager", False), ("tf32", False), ("mine.py:step", False)], {"eager"})
    many = style.line_styles(((name, False) for name in ("mine.py:step", "amp_bf16", "tf32")), {"tf32"})
    for loop in ("tf32", "mine.py:step"):
        assert few[loop].colour == many[loop].colour == style.loop_colour(loop)
    assert style.loop_colour("compile (not compiled)") == style.loop_colour("compile")


def test_the_usual_loops_have_fixed_colours_and_those_of_a_run_by_default_all_differ() -> None:
    assert set(TECHNIQUES) <= set(style.LOOP_COLOURS)
    usual = ("channels_last", "amp_bf16", "fused_optimizer", "tf32", "compile", "fused_optimizer+compile", "cuda_graph")
    assert len({style.loop_colour(loop) for loop in usual}) == len(usual)


def test_loops_of_one_colour_differ_in_dashes_and_markers() -> None:
    alike = [f"mine_{i}" for i in range(99) if style.loop_colour(f"mine_{i}") == style.loop_colour("mine_0")][:4]
    looks = style.line_styles([(loop, False) for loop in alike], set()).values()
    assert len({look.dash for look in looks}) == len({look.marker for look in looks}) == 4
