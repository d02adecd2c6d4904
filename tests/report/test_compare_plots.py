import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from loopmark.bench.judge.side_by_side import SideBySide
from loopmark.bench.report import style
from loopmark.bench.report.compare_plots import SPEEDUP_COLOURS, shares, speedups, throughput
from tests.report.test_plots import texts_of
from tests.support.hostile import NAMES
from tests.support.side_by_side import side_by_side


def drawn(found: SideBySide) -> dict[str, Figure]:
    (contest,) = found.workloads
    with style.styled():
        figures = {
            "machines": throughput(contest, found.runs), "speedups": speedups(contest), "shares": shares(contest),
        }  # fmt: skip
    return {name: figure for name, figure in figures.items() if isinstance(figure, Figure)}


def many(loops: int, machines: int, sizes: tuple[str, ...] = ("small",)) -> SideBySide:
    """Loops that are faster on one machine and slower or skipped on another."""
    seconds = {
        f"technique_number_{i}+compile": [0.005 + 0.001 * i, 0.012, None if i % 3 else 0.010] for i in range(loops - 1)
    }
    return side_by_side(seconds, machines, sizes=sizes, quiet=False)


def written_on(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


@pytest.mark.parametrize(
    ("loops", "machines", "sizes"),
    [(1, 1, ("small",)), (2, 8, ("small", "large")), (20, 1, ("small",)), (20, 8, ("small", "large"))],
)
def test_no_two_texts_overlap_and_all_lie_on_the_figure(loops: int, machines: int, sizes: tuple[str, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in drawn(many(loops, machines, sizes)).items():
            boxes = texts_of(figure)
            ends = np.array([box.extents for _, box in boxes])
            wide, high = (
                np.minimum.outer(ends[:, i + 2], ends[:, i + 2]) - np.maximum.outer(ends[:, i], ends[:, i])
                for i in (0, 1)
            )
            both = np.argwhere(np.triu((wide >= 1) & (high >= 1), k=1))
            assert [(name, boxes[i][0], boxes[j][0]) for i, j in both] == []
            for text, box in boxes:
                inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
                assert inside, (name, text)


def test_eager_alone_has_no_heat_map_since_there_is_no_ratio() -> None:
    assert set(drawn(side_by_side({}, 2))) == {"machines", "shares"}


def test_a_speedup_is_printed_where_it_is_a_claim_and_a_tilde_where_it_is_none() -> None:
    texts = written_on(drawn(side_by_side({"tf32": [0.005, 0.010, None]}, 3))["speedups"])
    assert "2.000x" in texts
    assert "~" in texts
    assert "skipped" in texts
    assert not any(text.startswith(("1.00x", "0.99", "1.01x")) for text in texts)


def test_the_heat_map_has_twice_as_fast_and_twice_as_slow_equally_far_from_its_middle() -> None:
    figure = drawn(side_by_side({"tf32": [0.005, 0.020]}, 2))["speedups"]
    (mesh,) = (child for child in figure.axes[0].get_children() if isinstance(child, QuadMesh))
    low, high = mesh.get_clim()
    values = np.ravel(mesh.get_array())

    assert low == pytest.approx(-high)
    assert values[0] == pytest.approx(-values[1], abs=0.01)
    assert SPEEDUP_COLOURS(0.5)[:3] == pytest.approx(to_rgb(style.LIGHT_INK), abs=0.02)


def test_a_figure_that_is_no_claim_has_the_middle_colour() -> None:
    figure = drawn(side_by_side({"tf32": [0.010, 0.005]}, 2))["speedups"]
    (mesh,) = (child for child in figure.axes[0].get_children() if isinstance(child, QuadMesh))
    assert np.ravel(mesh.get_array())[0] == 0.0


def test_a_heat_map_without_a_claim_and_a_single_bar_are_sentences() -> None:
    found = side_by_side({"tf32": [0.010, 0.010]}, 2)
    assert "no loop is faster or slower on any machine" in str(speedups(found.workloads[0]))
    alone = side_by_side({}, 1)
    assert "only eager on " in str(throughput(alone.workloads[0], alone.runs))


def test_other_work_is_named_on_each_plot() -> None:
    for figure in drawn(many(2, 2, ("small", "large"))).values():
        assert any("not the same work (size small or large)" in text for text in written_on(figure))
    for figure in drawn(many(2, 2)).values():
        assert not any("not the same work" in text for text in written_on(figure))


def test_a_loop_that_was_measured_nowhere_has_no_place_in_the_plots() -> None:
    for figure in drawn(side_by_side({"tf32": [0.005], "cuda_graph": [None]}, 2)).values():
        assert "cuda_graph" not in written_on(figure)


def test_hostile_names_are_drawn_as_text_without_a_warning() -> None:
    loops = side_by_side({name or "x": [0.005] for name in NAMES}, 1)
    machines = [(side_by_side({"tf32": [0.005]}, 8), names) for names in (NAMES[:8], NAMES[8:])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found, names in [(loops, NAMES[:1]), *machines]:
            entrants = tuple(replace(one, name=name) for one, name in zip(found.runs, names, strict=True))
            renamed = replace(found.workloads[0], runs=entrants)
            for figure in drawn(replace(found, runs=entrants, workloads=(renamed,))).values():
                assert style.save(figure, "svg").startswith(b"<?xml")
