import itertools
import warnings

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from loopmark.bench.cores import over_cores
from loopmark.bench.judge.summary import summarise
from loopmark.bench.report import capacity_plots, layout, plots, style, trajectories
from tests.support.hostile import NAMES
from tests.support.synthetic import Truth, ceilings, hold_down, make_run

REASON = "RuntimeError: " + "x y " * 120


def truths(loops: int, names: tuple[str, ...] = ()) -> list[Truth]:
    """The baseline, its repetition, and loops that are faster, slower, the same, compiled, skipped or failed."""
    made = [Truth("eager"), Truth("eager", repeat=True)][:loops]
    for i in range(max(0, loops - 2)):
        name = names[i % len(names)] if names else f"technique_number_{i}+compile"
        made.append(Truth(name, 0.006 + 0.0005 * i, compile_seconds=3.0 * (i % 3)))
    if loops > 1:
        made += [Truth("skips " * 20, status="skipped", reason=REASON), Truth("fails", status="failed", reason="$x$")]
    return made


def figures(made: list[Truth], *, device: bool = False, workload: str = "resnet") -> dict[str, Figure]:
    run, samples = make_run(made, (workload,), launches=3, rounds=6, device=device)
    summary = summarise(run, samples, ceilings=ceilings())
    first, styles = (
        summary.workloads[0],
        style.line_styles(((row.case.label, row.case.repeat) for row in summary.rows), {"eager"}),
    )
    cases = summary.places(first)
    with style.styled():
        drawn = {
            "phases": plots.phases(first),
            "speedup": plots.speedup(first),
            "narrow phases": plots.phases(first, narrow=True),
            "narrow speedup": plots.speedup(first, narrow=True),
            "breakeven": plots.break_even(first, styles),
            "distribution": plots.distribution(first, cases, samples, styles),
            "steps": trajectories.step_times(first, cases, samples, styles),
            "losses": trajectories.losses(first, cases, samples, styles),
            "roofline": capacity_plots.rooflines(first, ceilings(), styles),
        }
    return {name: figure for name, figure in drawn.items() if isinstance(figure, Figure)}


def out_of_view(figure: Figure) -> list[Text]:
    """Tick labels beyond an axis's ends, which are kept but not drawn."""
    hidden: list[Text] = []
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        places = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
        hidden += [label for place, label in places if not low <= place <= high]
    return hidden


def texts_of(figure: Figure) -> list[tuple[str, Bbox]]:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    with style.styled():
        canvas.draw()
        hidden = out_of_view(figure)
        texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
        shown = [text for text in texts if text.get_visible() and text not in hidden]
        return [
            (text.get_text(), text.get_window_extent(canvas.get_renderer()))
            for text in shown
            if text.get_text().strip()
        ]


@pytest.mark.parametrize("loops", [1, 2, 6, 20])
@pytest.mark.parametrize("device", [False, True])
def test_no_two_texts_overlap_and_all_lie_on_the_figure(loops: int, device: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in figures(truths(loops), device=device).items():
            boxes = texts_of(figure)
            for (one, first), (other, second) in itertools.combinations(boxes, 2):
                overlap = Bbox.intersection(first, second)
                assert overlap is None or overlap.width < 1 or overlap.height < 1, (name, one, other)
            for text, box in boxes:
                inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
                assert inside, (name, text)


def test_a_plot_with_nothing_to_show_is_not_drawn() -> None:
    assert set(figures(truths(1))) == {"phases", "narrow phases", "distribution", "steps", "losses", "roofline"}
    assert figures([Truth("eager", status="failed", reason="boom")]) == {}
    assert "breakeven" not in figures([Truth("eager"), Truth("tf32", 0.02)])


def test_a_speedup_plot_with_nothing_but_the_baseline_is_a_sentence() -> None:
    summary = summarise(*make_run([Truth("eager"), Truth("eager", repeat=True)], launches=3, rounds=6))
    assert plots.speedup(summary.workloads[0]) == "No plot of speedups: only eager's repetition has one."


@pytest.mark.parametrize(("spread", "steps", "drawn"), [(0.0, 4, False), (0.3, 4, True), (0.0, 40, True)])
def test_losses_that_are_all_the_same_are_drawn_only_over_many_steps(spread: float, steps: int, drawn: bool) -> None:
    losses = {
        label: pd.DataFrame({"launch": 0, "step": range(steps), "loss": [1.0 / (1 + i) + more for i in range(steps)]})
        for label, more in (("eager", 0.0), ("tf32", spread))
    }
    styles = style.line_styles([("eager", False), ("tf32", False)], {"eager"})
    figure = layout.loss_lines(losses, "launch", styles, "losses", [], "step")
    assert isinstance(figure, Figure) is drawn
    assert drawn or "every loop has the same ones in the 4 steps" in str(figure)


def test_markers_of_loops_at_one_intensity_stand_side_by_side() -> None:
    figure = figures(truths(7))["roofline"]
    placed: dict[float, list[float]] = {}
    for line in figure.axes[0].lines:
        if line.get_marker() not in ("None", ""):
            ((x, y),) = line.get_xydata()
            placed.setdefault(x, []).append(float(line.get_transform().transform((x, y))[0]))
    assert [len(across) for across in placed.values()] == [6, 6]
    for across in placed.values():
        assert min(b - a for a, b in itertools.pairwise(sorted(across))) > 0.8 * 6 / 72 * figure.dpi


def test_a_narrow_version_has_every_name_and_value_of_the_wide_one() -> None:
    drawn = figures(truths(6))
    for name in ("phases", "speedup"):
        wide, narrow = (
            {text.removesuffix(" %") for text, _ in texts_of(drawn[kind])} for kind in (name, f"narrow {name}")
        )
        axis = {label.get_text() for label in drawn[name].axes[0].get_xticklabels()}
        assert wide - axis - {drawn[name].axes[0].get_xlabel()} <= narrow


@pytest.mark.parametrize("workload", NAMES)
def test_hostile_names_are_drawn_as_text_without_a_warning(workload: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures(truths(3, (workload,)), workload=workload).values():
            assert style.save(figure, "svg").startswith(b"<?xml")


def test_dollars_are_not_read_as_mathematics() -> None:
    figure = figures(truths(4, ("$x$",)))["speedup"]
    label = next(text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text() == "$x$")
    assert not label.get_parse_math()


def test_a_throttled_turn_is_no_part_of_how_step_times_are_spread_where_it_was_taken_again() -> None:
    run, samples = make_run(truths(2), launches=3, rounds=6)
    summary = summarise(run, held := hold_down(samples, 1))
    styles = style.line_styles(((row.case.label, row.case.repeat) for row in summary.rows), {"eager"})
    with style.styled():
        figure = plots.distribution(summary.workloads[0], summary.places(summary.workloads[0]), held, styles)
    assert figure is not None
    medians = [line.get_xdata() for line in figure.axes[0].lines if line.get_marker() == "^"]
    assert max(float(seconds) for launches in medians for seconds in launches) < 0.015


def test_a_case_that_was_not_measured_is_not_drawn_as_zero() -> None:
    figure = figures(truths(3))["phases"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert not any(label.startswith(("fails", "skips")) for label in labels)
    assert not any("fails" in text for text, _ in texts_of(figure))  # the page says it once, below its table


def test_every_loop_keeps_its_look_on_every_workload_and_no_two_share_one() -> None:
    run, _ = make_run(truths(22), ("a", "b"), launches=1, rounds=1)
    styles = style.line_styles(((case.label, case.repeat) for case in run.cases), {"eager"})
    looks = [(look.colour, look.dash) for look in styles.values() if not look.behind]
    assert len(set(looks)) == len(looks) == 2 + len(style.LINE_COLOURS)


def test_of_more_loops_than_can_be_told_apart_those_of_interest_have_colours_and_the_others_are_one_entry() -> None:
    names = [f"loop {i}" for i in range(20)]
    styles = style.line_styles([("eager", False), *((name, False) for name in names)], {"eager"}, first=names[::-1])
    assert {name for name in names if not styles[name].behind} == set(names[-len(style.LINE_COLOURS) :])
    labels = [entry.get_label() for entry in style.legend(styles.values())]
    assert labels[0] == "eager"
    assert labels[-1] == "13 other loops"


def test_as_many_loops_as_can_be_told_apart_all_have_a_look_of_their_own() -> None:
    names = [f"loop {i}" for i in range(style.MOST_APART)]
    styles = style.line_styles(((name, False) for name in names), {"eager"})
    assert not any(look.behind for look in styles.values())
    assert len(style.legend(styles.values())) == len(names)


@pytest.mark.parametrize(("low", "high"), [(0.99, 1.01), (0.8, 1.7), (1, 4e6), (0.5, 60), (3e-5, 4e-5), (1, 5.9)])
def test_ticks_are_few_round_and_within_the_axis(low: float, high: float) -> None:
    values = style.round_values(low, high, 6)
    assert 2 <= len(values) <= 6
    assert low <= values[0] <= values[-1] <= high


@pytest.mark.parametrize("character", ["W", "i", "漢", "-"])
def test_a_name_is_elided_by_its_width_and_not_by_its_letters(character: str) -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    with style.styled():
        text = figure.text(0, 0, style.fitted(character * 10_000), size=9)
        assert "…" in text.get_text()
        width = text.get_window_extent().width / figure.dpi
    assert 0.9 * style.NAME_INCHES < width <= layout.NAMES - 0.05  # hinting may widen small letters


def test_ticks_of_an_axis_without_extent_do_not_hang() -> None:
    assert style.round_values(1.0, 1.0, 6) == [1.0]


def test_loops_whose_names_begin_alike_have_labels_that_differ() -> None:
    names = tuple(f"amp_bf16+channels_last+compile_reduce_overhead+accumulate_{number}" for number in range(2, 16))
    for figure in figures(truths(16, names)).values():
        shown = [text for text, _ in texts_of(figure) if text.startswith("amp_bf16+")]
        assert len(set(shown)) == len(shown)


def test_processes_that_draw_at_once_do_not_move_each_other_s_place_in_the_font_s_file() -> None:
    characters = [chr(number) for number in sorted(style._glyphs())]
    known = [style._advance(character) for character in characters]

    def measure(_: int) -> list[float]:
        style._advance.cache_clear()
        return [style._advance(character) for character in characters]

    assert over_cores(measure, range(2)) == [known] * 2
