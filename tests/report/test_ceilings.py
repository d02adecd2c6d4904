"""The table of ceilings: figures in suitable units, left-out ceilings, and signs of a disturbance."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from loopmark.bench.records.ceilings import Ceilings, Interference, LeftOut
from loopmark.bench.report.ceilings import ceiling_text, ceilings_as_json, print_ceilings, remarks, size
from tests.support.ceilings import COPY, LAUNCH, PRODUCT, make_ceilings

CALM = Interference(
    sampled_seconds=2.0, involuntary_switches=0, steal_seconds=0.0, throttle_reasons=(), foreign_processes=0
)


def printed(ceilings: Ceilings, width: int = 100, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)
    print_ceilings(ceilings, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_figure_stands_with_its_interval_its_unit_and_the_size_that_reached_it() -> None:
    text = printed(make_ceilings(left_out=(LeftOut("matrix product", "tf32", "tf32 needs a CUDA device"),)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "matrix product float32 100 GFLOP/s [98, 101] 1,024 × 1,024 20" in lines
    assert "copy 20.0 GB/s [19.0, 21.0] 128 MiB 20" in lines
    assert "launch (host) 700 ns [690, 720] 1 element 20" in lines
    assert "matrix product tf32 left out: tf32 needs a CUDA device" in lines


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (1e-3, "100 MFLOP/s"),
        (1.0, "100 GFLOP/s"),
        (9.4, "940 GFLOP/s"),
        (1e4, "1,000 TFLOP/s"),
    ],
)
def test_flops_are_scaled_to_the_unit_that_suits_them(scale: float, said: str) -> None:
    one = replace(PRODUCT, value=PRODUCT.value * scale, low=PRODUCT.low * scale, high=PRODUCT.high * scale)
    assert ceiling_text(one).startswith(said)


def test_an_interval_of_no_width_is_shown_all_the_same() -> None:
    assert ceiling_text(replace(COPY, low=COPY.value, high=COPY.value)) == "20.0 GB/s [20.0, 20.0]"


def test_a_launch_is_of_elements_and_a_product_of_rows() -> None:
    assert [size(one) for one in (PRODUCT, COPY, LAUNCH)] == ["1,024 × 1,024", "128 MiB", "1 element"]


def test_what_is_calm_has_no_remark() -> None:
    assert remarks(make_ceilings(ceilings=(replace(PRODUCT, held=98e9),))) == []
    assert remarks(make_ceilings(ceilings=(replace(PRODUCT, disturbance=CALM), COPY, LAUNCH))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"low": 60e9}, "wide intervals, which an idle machine or a longer --budget makes narrower: matrix product"),
        ({"low": 60e9}, "matrix product float32 ±20 %"),
        ({"steady": False}, "not steady when sampling began: matrix product float32"),
        ({"held": 80e9}, "and not held: matrix product float32 (80.0 GFLOP/s after seconds of load, 20 % less)"),
        ({"disturbance": replace(CALM, steal_seconds=0.5)}, "took time from the cores: matrix product float32 25 %"),
        ({"disturbance": replace(CALM, involuntary_switches=90)}, "matrix product float32 90 times in 20 samples"),
        (
            {"disturbance": replace(CALM, throttle_reasons=("power cap",))},
            "held down: matrix product float32 (power cap)",
        ),
        (
            {"disturbance": replace(CALM, foreign_processes=2)},
            "other processes were on the GPU: matrix product float32 2",
        ),
    ],
)
def test_what_looks_disturbed_is_said(change: dict[str, object], said: str) -> None:
    ceilings = make_ceilings(ceilings=(replace(PRODUCT, **change), COPY))  # type: ignore[arg-type]
    (remark,) = remarks(ceilings)
    assert said in remark
    assert remark in printed(ceilings, width=200)


def test_nothing_that_a_driver_wrote_reaches_the_terminal_as_it_is() -> None:
    hostile = LeftOut("copy", None, "no\x1b[2J room\nfor it\u202e")
    text = printed(make_ceilings(ceilings=(), left_out=(hostile,)))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "copy left out: no[2J room for it" in text


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_terminal_is_enough(width: int) -> None:
    text = printed(make_ceilings(), width=width, terminal=True)
    assert max(map(len, text.splitlines())) <= width


def test_json_holds_the_record_and_the_remarks() -> None:
    content = json.loads(ceilings_as_json(make_ceilings(ceilings=(replace(PRODUCT, steady=False),))))
    assert content["ceilings"][0]["value"] == 100e9
    assert content["remarks"] == ["not steady when sampling began: matrix product float32"]
