"""What is said of a loop's compilation: in its row, in the takeaway, in the figures and of a trace."""

import io
from dataclasses import replace

from rich.console import Console

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Summary, summarise
from loopmark.bench.records.run import Compilation, GraphBreak
from loopmark.bench.report.cells import compilation
from loopmark.bench.report.figures import record
from loopmark.bench.report.run_tables import main_table, print_summary, start_table
from loopmark.bench.report.takeaway import takeaway
from tests.report.test_trace import printed as printed_trace
from tests.support.synthetic import Truth, make_run
from tests.support.traces import profile, trace

WHOLE = Compilation(compiled=1, late=0, seconds=13.0, launch_seconds=20.0, again=0, again_seconds=0, graphs_per_step=1)
BROKEN = Compilation(
    compiled=10, late=3, seconds=41.0, launch_seconds=82.0, again=8, again_seconds=30.0,
    again_because="tensor 'x' size mismatch at index 1. expected 4, actual 5", limit_reached="recompile_limit=8",
    breaks=(GraphBreak("model.py:12", "Dynamo does not support tracing `Tensor.item()`"),), graphs_per_step=2.0,
)  # fmt: skip
NOTHING = Compilation(
    compiled=0, late=0, seconds=0.1, launch_seconds=10.0, again=0, again_seconds=0, graphs_per_step=0.0,
    breaks=(GraphBreak("model.py:7", "it was wrapped with `torch.compiler.disable`"),),
)  # fmt: skip


def judged(compilation: Compilation | None) -> Summary:
    truths = [Truth("eager"), Truth("eager", repeat=True), Truth("compile", 0.008, compilation=compilation)]
    return summarise(*make_run(truths, launches=8))


def printed(summary: Summary) -> str:
    output = io.StringIO()
    print_summary(summary, Console(file=output, width=400, force_terminal=True, color_system=None))
    return output.getvalue()


def test_all_that_compilation_cost_is_said_in_few_words() -> None:
    assert list(compilation(BROKEN)) == [
        "2 graphs a step, broken at model.py:12 (Dynamo does not support tracing `Tensor.item()`)",
        "10 graphs compiled, 3 of them in timed steps: 41.0 s, 50 % of its time",
        "8 of them compiled again: 30.0 s, the last because tensor 'x' size mismatch at index 1. expected 4, actual 5",
        "torch's limit was reached (recompile_limit=8): what would need another graph runs uncompiled",
    ]


def test_a_model_in_one_graph_has_two_short_remarks() -> None:
    assert list(compilation(WHOLE)) == ["1 graph a step", "1 graph compiled: 13.0 s, 65 % of its time"]


def test_many_breaks_are_counted_after_the_first_three() -> None:
    breaks = tuple(GraphBreak(f"model.py:{line}", "print") for line in range(5))
    first, *_ = compilation(replace(BROKEN, breaks=breaks))
    assert first.endswith("model.py:2 (print), 2 more")


def test_what_torch_does_not_say_is_left_out() -> None:
    assert list(compilation(Compilation(compiled=2, late=0, seconds=1.0))) == [
        "an unknown number of graphs a step", "2 graphs compiled: 1.00 s",
    ]  # fmt: skip


def test_the_row_has_the_graphs_and_the_remarks() -> None:
    text = printed(judged(BROKEN))
    assert "compile: 2 graphs a step, broken at model.py:12" in text
    assert "10 graphs compiled in the first launch" in text
    assert "50 %" in start_table(judged(BROKEN).workloads[0]).as_markdown()


def test_the_exports_have_every_fact() -> None:
    workload = judged(BROKEN).workloads[0]
    kept = record(workload.rows[2], workload)
    facts = {
        "graphs_per_step": 2.0, "graphs_compiled": 10, "graphs_compiled_late": 3, "graphs_compiled_again": 8,
        "compile_again_seconds": 30.0, "compile_share": 0.5, "compile_limit_reached": "recompile_limit=8",
        "graph_breaks": "model.py:12",
    }  # fmt: skip
    assert {key: kept[key] for key in facts} == facts
    assert {key: record(workload.rows[0], workload)[key] for key in facts} == dict.fromkeys(facts)


def test_a_loop_of_which_nothing_was_compiled_is_never_shown_as_compiled() -> None:
    summary = judged(NOTHING)
    row = summary.rows[2]
    assert row.case.label == "compile (not compiled)"
    assert "compile (not compiled)" in main_table(summary.workloads[0]).as_markdown().replace("\\", "")
    text = printed(summary)
    assert "nothing of it was compiled: model.py:7 (it was wrapped with `torch.compiler.disable`)" in text
    assert all(line.startswith("compile (not compiled)") for line in text.splitlines() if line.startswith("compile"))


def test_a_loop_of_which_nothing_was_compiled_is_not_praised() -> None:
    summary = judged(NOTHING)
    (workload,) = summary.workloads
    fast = replace(workload.rows[2], speedup=Estimate(1.2, 1.1, 1.3), verdict="faster")
    text = takeaway(replace(summary, workloads=(replace(workload, rows=(*workload.rows[:2], fast)),)))
    assert "compile (not compiled) is faster (1.20x [1.10, 1.30]), but nothing of it was compiled" in text
    assert "x faster" not in text


def test_a_reason_is_looked_for_where_torch_names_no_break() -> None:
    assert "TORCH_COMPILE_DISABLE" in next(compilation(replace(NOTHING, breaks=())))


def test_a_trace_says_the_same_of_its_steps() -> None:
    text = printed_trace(trace(replace(profile(), compilation=replace(BROKEN, launch_seconds=None))), width=400)
    assert "torch.compile: 2 graphs a step, broken at model.py:12" in text
    assert "10 graphs compiled, 3 of them in timed steps: 41.0 s;" in text
    assert "compile (not compiled) on resnet" in printed_trace(trace(replace(profile(), compilation=NOTHING)))
