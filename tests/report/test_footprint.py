"""A step's memory as text for a person and as JSON for a program."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from loopmark.bench.records.footprint import Footprint, FootprintCase, Stretch
from loopmark.bench.report import style
from loopmark.bench.report.capacity_plots import timeline
from loopmark.bench.report.step_profile import (
    footprint_conclusion,
    footprints_as_csv,
    footprints_as_json,
    print_footprints,
    write_footprint_files,
)
from tests.support.hostile import NAMES

MIB = 2**20
STEP = Footprint(
    kind="tensors alive",
    batch_size=64,
    before_bytes=2 * MIB,
    stretches=(
        Stretch("data", (3 * MIB,), 3 * MIB, 3 * MIB),
        Stretch("forward", (4 * MIB, 6 * MIB), 6 * MIB, 6 * MIB),
        Stretch("backward", (9 * MIB, 5 * MIB), 9 * MIB, 3 * MIB),
        Stretch("forward", (7 * MIB,), 7 * MIB, 4 * MIB),
    ),
    peak_operator="aten.mm.default",
    ran_eagerly=False,
)
ON_DEVICE = replace(
    STEP,
    kind="device memory allocated",
    stretches=tuple(
        replace(s, peak_reserved_bytes=s.peak_bytes + MIB, peak_inactive_split_bytes=MIB // 2) for s in STEP.stretches
    ),
    peak_operator=None,
)
FOLLOWED = FootprintCase("gpt", "eager", "ok", None, STEP)
SKIPPED = FootprintCase("gpt", "cuda_graph", "skipped", "it needs a CUDA device", None)


def printed(*cases: FootprintCase, width: int = 160) -> str:
    file = io.StringIO()
    print_footprints(cases, Console(file=file, width=width, highlight=False))
    return file.getvalue()


def test_a_phase_that_comes_twice_is_one_line_with_its_highest_peak_and_its_last_end() -> None:
    lines = printed(FOLLOWED).splitlines()

    assert [line.split()[0] for line in lines[1:5]] == ["phase", "data", "forward", "backward"]
    assert lines[3].split() == ["forward", "7.00", "MiB", "4.00", "MiB"]


def test_the_conclusion_names_phase_operator_and_what_the_step_adds() -> None:
    said = footprint_conclusion(FOLLOWED)

    assert said == (
        "gpt, eager: the step peaks at 9.00 MiB in backward, at aten.mm.default: "
        "7.00 MiB above the 2.00 MiB at its start."
    )


def test_a_device_tells_what_is_reserved_and_how_much_of_it_is_lost_to_fragments() -> None:
    case = FootprintCase("gpt", "eager", "ok", None, ON_DEVICE)

    assert "peak reserved" in printed(case)
    assert "peak reserved" not in printed(FOLLOWED)
    assert "held 1.00 MiB more than was in use, at most 512 KiB of it stuck" in footprint_conclusion(case)


def test_what_was_not_compiled_says_so() -> None:
    assert "was run eagerly" not in printed(FOLLOWED)
    assert "was run eagerly" in printed(FootprintCase("gpt", "compile", "ok", None, replace(STEP, ran_eagerly=True)))


def test_a_loop_that_could_not_be_followed_says_why() -> None:
    assert "gpt, cuda_graph: skipped: it needs a CUDA device." in printed(SKIPPED)


def test_csv_and_json_hold_bytes() -> None:
    rows = list(csv.DictReader(io.StringIO(footprints_as_csv([FOLLOWED, SKIPPED]))))
    first, second = json.loads(json.dumps(footprints_as_json([FOLLOWED, SKIPPED]), allow_nan=False))["loops"]

    assert [(row["phase"], row["peak_bytes"]) for row in rows] == [
        ("data", str(3 * MIB)),
        ("forward", str(7 * MIB)),
        ("backward", str(9 * MIB)),
    ]
    assert rows[0]["peak_reserved_bytes"] == ""
    assert (first["peak_bytes"], first["peak_phase"], first["fragmentation_bytes"]) == (9 * MIB, "backward", None)
    assert second["reason"] == "it needs a CUDA device"


def test_the_timeline_has_every_moment_and_a_shade_for_every_stretch() -> None:
    with style.styled():
        figure = timeline(FOLLOWED)
        assert figure is not None
        (axes,) = figure.axes
        drawn = [*axes.lines[0].get_ydata()]

    assert drawn == [2, 3, 4, 6, 9, 5, 7]
    assert len(axes.patches) == len(STEP.stretches)


def test_each_loop_gets_a_plot_as_png_and_svg_and_nothing_to_draw_makes_none(tmp_path: Path) -> None:
    bare = replace(STEP, stretches=tuple(replace(stretch, moments=()) for stretch in STEP.stretches))
    write_footprint_files(tmp_path, [FOLLOWED, SKIPPED, FootprintCase("gpt", "bare", "ok", None, bare)])

    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"memory-gpt-eager.png", "memory-gpt-eager.svg"}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_others_do_not_steer_the_terminal_or_the_plot(name: str, tmp_path: Path) -> None:
    case = FootprintCase(name, name, "ok", None, STEP)
    write_footprint_files(tmp_path, [case])

    assert "\x1b" not in printed(case)
    assert b"\x1b" not in (tmp_path / "memory.csv").read_bytes()
