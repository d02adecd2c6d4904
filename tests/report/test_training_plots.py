import itertools
import math
import warnings

import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from loopmark.bench.judge.training import summarise_training
from loopmark.bench.report import style, trend_plots
from tests.report.test_plots import texts_of
from tests.support.hostile import NAMES
from tests.support.trainings import Taught, make_training


def figures(taught: list[Taught], workload: str = "resnet", seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, Figure]:
    training, samples = make_training(taught, (workload,), seeds=seeds)
    summary = summarise_training(training, samples)
    (first,) = summary.workloads
    styles = style.line_styles(((row.label, row.repeat) for row in first.rows), {"eager"})
    with style.styled():
        drawn = {
            "quality": trend_plots.quality(first, summary, samples, styles, {}),
            "training": trend_plots.losses(first, summary, samples, styles),
        }
    return {name: figure for name, figure in drawn.items() if isinstance(figure, Figure)}


def many(loops: int) -> list[Taught]:
    return [
        Taught("eager"),
        *(Taught(f"technique_number_{i}+compile", error=1e-7, step_seconds=0.01 + i / 1000) for i in range(loops - 1)),
    ]


@pytest.mark.parametrize("loops", [1, 2, 20])
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_no_two_texts_overlap_and_all_lie_on_the_figure(loops: int, seeds: tuple[int, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in figures(many(loops), seeds=seeds).items():
            boxes = texts_of(figure)
            for (one, first), (other, second) in itertools.combinations(boxes, 2):
                overlap = Bbox.intersection(first, second)
                assert overlap is None or overlap.width < 1 or overlap.height < 1, (name, one, other)
            for text, box in boxes:
                assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, (name, text)
                assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, (name, text)


def test_the_lines_of_quality_begin_at_zero_whatever_starting_took() -> None:
    figure = figures([Taught("eager"), Taught("compile", error=1e-7, start_seconds=20.0)])["quality"]
    (axes,) = figure.axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
    assert len(lines) == 2
    for line in lines:
        assert min(line.get_xdata()) == 0
        assert max(line.get_xdata()) < 1.5e3  # milliseconds: the twenty seconds of the start are gone


@pytest.mark.parametrize(
    "taught",
    [
        Taught("bad", qualities=(math.nan,), ending="diverged", diverged_at_step=0, divergence="not a number"),
        Taught("flat", qualities=(0.1, 0.1, 0.1)),
        Taught("x", status="failed", reason="y"),
        Taught("instant", step_seconds=0.0, start_seconds=0.0),
    ],
)
def test_what_went_wrong_breaks_no_plot(taught: Taught) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = figures([Taught("eager"), taught], seeds=(0,))
        assert set(drawn) == {"quality", "training"}
        for figure in drawn.values():
            assert style.save(figure, "svg").startswith(b"<?xml")


def test_where_nothing_was_trained_nothing_is_drawn() -> None:
    training, samples = make_training([Taught("eager")], target=None)
    summary = summarise_training(training, samples)
    assert trend_plots.quality(summary.workloads[0], summary, samples, {}, {}) is None
    assert trend_plots.losses(summary.workloads[0], summary, samples, {}) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_is_drawn_as_text(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures([Taught("eager"), Taught(name)], workload=name, seeds=(0,)).values():
            assert style.save(figure, "svg").startswith(b"<?xml")


def test_a_training_that_was_looked_at_thousands_of_times_is_drawn_with_a_few_hundred_points() -> None:
    rising = tuple(i / 4000 for i in range(3000))
    figure = figures([Taught("eager", epochs_to_target=4000, qualities=rising)])["quality"]
    longest = max(figure.axes[0].lines, key=lambda line: len(line.get_xdata()))
    assert 120 < len(longest.get_xdata()) <= 240
    assert max(longest.get_ydata()) == pytest.approx(rising[-1], abs=0.01)
