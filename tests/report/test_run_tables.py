import dataclasses
import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from loopmark.bench.judge.summary import Summary, summarise
from loopmark.bench.records.run import PhaseWork
from loopmark.bench.report.run_tables import main_table, print_summary
from tests.support.hostile import NAMES
from tests.support.synthetic import Truth, make_run

LOOPS = [
    Truth("eager"), Truth("eager", repeat=True), Truth("channels_last+compile", 0.008, compile_seconds=20.0),
    Truth("amp_bf16", 0.0125), Truth("tf32"),
    Truth("cuda_graph", status="skipped", reason="cuda_graph needs [bold]a CUDA device[/]; " + "so it goes " * 40),
]  # fmt: skip


def printed(summary: Summary, width: int) -> list[str]:
    output = io.StringIO()
    print_summary(summary, Console(file=output, width=width, force_terminal=True, color_system=None))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 110, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = printed(summarise(*make_run(LOOPS, ("resnet", "gpt"))), width)
    assert max(map(cell_len, lines)) <= width


def test_a_difference_within_the_noise_floor_is_a_tilde_and_no_ratio() -> None:
    summary = summarise(*make_run(LOOPS))
    rows = tuple(
        dataclasses.replace(row, verdict="same") if row.case.loop == "tf32" else row
        for row in summary.workloads[0].rows
    )
    workload = dataclasses.replace(summary.workloads[0], rows=rows)
    terminal = next(
        line for line in printed(dataclasses.replace(summary, workloads=(workload,)), 110) if "tf32" in line
    )
    page = next(line for line in main_table(workload).as_markdown().splitlines() if "tf32" in line)
    for line in (terminal, page):
        assert "~ [" in line
        assert "x [" not in line


def test_the_noise_floor_and_what_it_means_are_shown() -> None:
    assert "smaller differences are printed as ~" in printed(summarise(*make_run(LOOPS)), 110)[0]


def test_the_noise_floor_beside_a_long_name_is_a_whole_sentence() -> None:
    first, second, *_ = printed(summarise(*make_run(LOOPS, ("my_training_task:make_task",))), 80)
    assert first.startswith("my_training_task:make_task  noise floor")
    assert f"{first.strip()} {second}".endswith("smaller differences are printed as ~")


def test_a_terminal_of_80_columns_shows_the_phases() -> None:
    text = "\n".join(printed(summarise(*make_run(LOOPS)), 80))
    assert "fwd/bwd/" in text
    assert "\nreport.md also has: samples /s, " in text


def test_a_skipped_case_has_its_whole_reason_in_the_terminal_with_its_markup_as_text() -> None:
    lines = printed(summarise(*make_run(LOOPS)), 110)
    first = next(number for number, line in enumerate(lines) if line.startswith("cuda_graph"))
    assert "skipped: cuda_graph needs [bold]a CUDA device[/]" in lines[first]
    assert lines[first + 1].startswith(" " * 20)
    assert max(map(len, lines)) <= 110


def test_a_column_with_nothing_to_say_is_left_out() -> None:
    text = "\n".join(printed(summarise(*make_run(LOOPS[:2])), 200))
    assert "compile" not in text
    assert "speedup" in text


def test_columns_without_room_are_named() -> None:
    (line,) = (line for line in printed(summarise(*make_run(LOOPS)), 75) if line.startswith("report.md also has: "))
    assert "samples /s, peak memory" in line


def test_a_log_file_gets_the_whole_table() -> None:
    output = io.StringIO()
    print_summary(summarise(*make_run(LOOPS)), Console(file=output, width=80))
    assert "pays" in output.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_printed_as_text(name: str) -> None:
    truths = [Truth("eager"), Truth(name, 0.008), Truth(name + "2", status="failed", reason=name)]
    lines = printed(summarise(*make_run(truths, (name,), launches=2, rounds=2)), 80)
    assert max(map(cell_len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def with_attention(kernels: dict[str, tuple[str, ...]]) -> Summary:
    run, samples = make_run(LOOPS)
    cases = tuple(
        dataclasses.replace(case, work=(PhaseWork("forward", {}, 0.0, kernels.get(case.loop, ("efficient",))),))
        for case in run.cases
    )
    return summarise(dataclasses.replace(run, cases=cases), samples)


def test_the_kernels_of_attention_are_told_where_loops_differ_in_them() -> None:
    summary = with_attention({"amp_bf16": ("flash",), "cuda_graph": ()})
    said = next(line for line in printed(summary, 200) if "attention" in line)
    loops = "eager, eager (again), channels_last+compile, tf32"
    assert said.strip() == f"uncompiled attention runs as efficient in {loops}; flash in amp_bf16"
    assert max(map(cell_len, printed(summary, 40))) <= 40


@pytest.mark.parametrize("kernels", [{}, {"amp_bf16": ()}])
def test_one_kernel_for_all_is_nothing_to_tell(kernels: dict[str, tuple[str, ...]]) -> None:
    assert "attention" not in "\n".join(printed(with_attention(kernels), 200))
