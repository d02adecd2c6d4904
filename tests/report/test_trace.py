"""The text of a trace, for any kernel names."""

import csv
import io
import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from loopmark.bench.records.trace import OUTSIDE, Cost, PhaseCosts, Trace
from loopmark.bench.report.step_profile import kernels_as_csv, print_trace, trace_as_json, trace_conclusion
from tests.support.hostile import NAMES
from tests.support.traces import costs, profile, trace

FOLDER = Path("results/cpu/traces/1-resnet-eager")


def printed(found: Trace, width: int = 120, folder: Path | None = FOLDER, terminal: bool = False) -> str:
    file = io.StringIO()
    print_trace(found, folder, Console(file=file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue()


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.startswith("  ")]


def test_each_phase_has_a_heading_and_its_dearest_operators() -> None:
    text = printed(trace())

    assert text.startswith("amp_bf16+compile on resnet, cpu: 3 steps profiled\n")
    assert "\nforward  4.00 ms a step\n" in text
    assert ["aten::mm", "9", "3.00", "ms", "75", "%"] in rows(text)
    assert ["aten::mm", "18", "6.00", "ms", "100", "%"] in rows(text)


def test_what_no_operator_did_is_called_by_nobody() -> None:
    text = printed(trace())
    assert [*OUTSIDE.split(), "–", "1.00", "ms", "25", "%"] in rows(text)


def test_ten_are_named_and_the_others_are_one_line() -> None:
    text = printed(trace(profile(PhaseCosts("forward", 0.1, costs(13)))))

    assert "aten::op9 " in text
    assert "aten::op10" not in text
    (rest,) = [row for row in rows(text) if row[1] == "others"]
    assert rest[:3] == ["3", "others", "6"]


def test_one_that_is_left_over_is_one_other() -> None:
    assert ["1", "other", "2"] in [row[:3] for row in rows(printed(trace(profile(PhaseCosts("loss", 1, costs(11))))))]


def test_calls_that_do_not_come_in_each_step_are_no_whole_number() -> None:
    text = printed(trace(profile(PhaseCosts("data", 1, (Cost("aten::randperm", 1 / 3, 0.001),)))))
    assert ["aten::randperm", "0.333", "1.00", "ms", "100", "%"] in rows(text)


def test_it_says_that_profiled_steps_are_slower_and_enter_no_report() -> None:
    text = printed(trace())

    assert "Profiled steps are slower than measured ones" in text
    assert "no figure of a trace enters a report" in text
    assert "Here they took 12.0 ms each, those just before profiling 10.0 ms." in text


def test_steps_that_were_not_slower_are_not_said_to_have_been() -> None:
    assert "10.0 ms, so its cost does not show in this number of steps." in printed(trace(profile(profiled=0.009)))


def test_it_says_where_the_trace_is_and_how_to_open_it() -> None:
    text = printed(trace())
    assert f"{FOLDER}/trace.json.gz: open it at https://ui.perfetto.dev or in chrome://tracing." in text
    assert f"{FOLDER}/kernels.csv" in text


def test_kernels_are_told_apart_from_the_host_that_launches_them() -> None:
    found = profile(
        PhaseCosts("forward", 0.002, (Cost("gemm", 1.0, 0.004),)),
        PhaseCosts("zero_grad", 0.0001, ()),
        counted="kernels",
        unattributed=(Cost("stray", 2.0, 0.001),),
    )
    text = printed(trace(found))

    assert "forward  4.00 ms a step on the device, 2.00 ms on the host" in text
    assert "  no kernel\n" in text
    assert "counts for the phase that launched it" in text
    assert "2.00 kernels a step (1.00 ms) count for no phase" in text


def test_it_ends_with_the_five_most_costly_of_all_phases_and_one_sentence() -> None:
    found = profile(
        PhaseCosts("forward", 0.01, (Cost("aten::mm", 1.0, 0.003), Cost(OUTSIDE, 1.0, 0.0025), *costs(6, 0.001))),
        PhaseCosts("backward", 0.01, (Cost("aten::mm_backward", 2.0, 0.0029), Cost("aten::sum", 1.0, 0.002))),
    )
    table, sentence = printed(trace(found)).split("the most costly of all phases\n")[1].split("\n\n")

    assert [row[:2] for row in rows(table)[1:]] == [
        ["aten::mm", "forward"],
        ["aten::mm_backward", "backward"],
        ["(outside", "any"],
        ["aten::sum", "backward"],
        ["aten::op0", "forward"],
    ]
    assert rows(table)[1][2:] == ["3.00", "ms", "23", "%"]
    assert sentence == (
        "resnet, amp_bf16+compile: forward takes the most time, 62 % of 12.9 ms a step; "
        "the most costly operator is aten::mm in forward, 23 %.\n"
    )
    assert trace_as_json(trace(found), FOLDER)["takeaway"] == sentence.strip()


@pytest.mark.parametrize(
    ("seconds", "filled", "bound"), [(0.004, 40, "launch-bound"), (0.0095, 95, "not launch-bound")]
)
def test_a_step_whose_kernels_leave_the_device_waiting_is_called_launch_bound(
    seconds: float, filled: int, bound: str
) -> None:
    text = printed(trace(profile(PhaseCosts("forward", 0.008, (Cost("gemm", 1.0, seconds),)), counted="kernels")))
    assert f"kernels fill {filled} % of the 10.0 ms of a step before profiling: it is {bound}." in text


def test_time_outside_operators_is_not_called_an_operator() -> None:
    text = printed(trace(profile(PhaseCosts("data", 1.0, (Cost(OUTSIDE, 1.0, 0.9), Cost("aten::to", 1.0, 0.1))))))
    assert "the most costly operator is aten::to in data, 10 %" in text


def test_operators_of_several_threads_are_told_to_be() -> None:
    text = printed(trace(profile(PhaseCosts("forward", 0.004, (Cost("aten::mm", 1.0, 0.007),)))))
    assert "forward  4.00 ms a step, 7.00 ms over all threads" in text


def test_of_a_graph_it_says_that_its_phases_cannot_be_seen() -> None:
    text = printed(
        trace(profile(PhaseCosts("step", 0.001, (Cost("gemm", 1.0, 0.01),)), counted="kernels", graphed=True))
    )
    assert "replays a graph, whose phases the host does not see: all its kernels are in one range, step." in text


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            Trace("resnet", "cuda_graph", "cpu", "skipped", "needs a GPU"),
            "cuda_graph cannot be traced here: needs a GPU.",
        ),
        (Trace("resnet", "own:f", "cpu", "failed", "own.py:3: no"), "own:f was not traced; it failed: own.py:3: no"),
        (Trace("resnet", "own:f", "cpu", "timed_out", "hung"), "own:f was not traced; it timed out: hung"),
    ],
)
def test_without_a_profile_there_is_the_reason_and_nothing_else(found: Trace, says: str) -> None:
    assert trace_conclusion(found) == says
    assert printed(found, folder=None).strip() == says
    assert trace_as_json(found, None)["profile"] is None
    assert trace_as_json(found, None)["trace"] is None


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("name", [*NAMES, "void gemm<" + "long, " * 40 + ">(int)"])
def test_no_name_breaks_the_table_at_any_width(name: str, width: int) -> None:
    found = trace(profile(PhaseCosts("forward", 0.01, (Cost(name, 1.0, 0.004), *costs(12)))), loop=name)
    text = printed(found, width, terminal=True)

    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert all(cell_len(line) <= width for line in text.splitlines() if line.startswith("  "))
    assert all(line.rstrip().endswith("%") for line in text.splitlines() if line.startswith("  aten::op"))
    text.encode()


def test_a_name_that_is_too_long_keeps_both_its_ends() -> None:
    name = f"graph_0_cpp_fused_{'add_' * 40}7"
    row, _ = [line for line in printed(trace(profile(PhaseCosts("loss", 1, (Cost(name, 1.0, 1.0),)))), 80).split("\n")
              if line.startswith("  graph_0")]  # fmt: skip
    assert row.startswith("  graph_0_cpp_fused_add")
    assert "…" in row
    assert "add_7  " in row


@pytest.mark.parametrize("name", NAMES)
def test_json_holds_every_kernel_in_strict_form(name: str) -> None:
    found = trace(profile(PhaseCosts("forward", 0.01, (Cost(name, 1.0, 0.003), *costs(12)))))
    content = json.loads(json.dumps(trace_as_json(found, FOLDER), allow_nan=False))
    (forward,) = content["profile"]["phases"]

    assert content["trace"] == f"{FOLDER}/trace.json.gz"
    assert len(forward["costs"]) == 13
    assert forward["costs"][0]["name"] == name
    assert sum(cost["share"] for cost in forward["costs"]) == pytest.approx(1)


def test_a_spreadsheet_has_every_row_in_base_units() -> None:
    found = profile(
        PhaseCosts("forward", 0.01, (Cost('gemm<a, "b">', 1.5, 0.003), Cost("relu", 2.0, 0.001))),
        unattributed=(Cost("stray", 1.0, 0.5),),
    )
    assert list(csv.DictReader(io.StringIO(kernels_as_csv(found)))) == [
        dict(
            phase="forward", name='gemm<a, "b">', calls_per_step="1.5", seconds_per_step="0.003", share_of_phase="0.75"
        ),
        dict(phase="forward", name="relu", calls_per_step="2.0", seconds_per_step="0.001", share_of_phase="0.25"),
        dict(phase="", name="stray", calls_per_step="1.0", seconds_per_step="0.5", share_of_phase=""),
    ]
