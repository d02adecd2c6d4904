import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from loopmark.bench.judge.side_by_side import Shift, SideBySide
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.report import compare_words as words
from loopmark.bench.report.compare_table import print_comparison
from tests.support.hostile import NAMES
from tests.support.side_by_side import entrant, everything, on, side_by_side
from tests.support.synthetic import Truth, make_run

AMD, XEON = "amd-epyc-7763-2-core", "intel-xeon-platinum-8480c"


def printed(found: SideBySide, width: int = 150) -> str:
    output = io.StringIO()
    print_comparison(found, Console(file=output, width=width))
    return output.getvalue()


def test_a_technique_pays_where_its_verdict_is_faster_and_costs_where_it_is_slower() -> None:
    (sentence,) = words.conclusions(side_by_side({"amp_bf16": [0.005, 0.020]}, 2))
    assert sentence.startswith(f"resnet: amp_bf16 pays on {AMD} (2.0")
    assert f"costs on {XEON} (0.50" in sentence


def test_a_technique_that_nobody_saw_train_alike_is_faster_and_is_not_said_to_pay() -> None:
    (sentence,) = words.conclusions(side_by_side({"amp_bf16": [0.005]}, 2, trained=(True, False)))
    assert f"pays on {AMD} (" in sentence
    assert f"is faster on {XEON} (" in sentence
    assert "but its training was not compared there" in sentence


def test_a_technique_that_trains_otherwise_pays_nowhere() -> None:
    (sentence,) = words.conclusions(side_by_side({"amp_bf16": [0.005]}, 2, departing=("amp_bf16",)))
    assert "pays" not in sentence
    assert "but trains another model there" in sentence


def test_on_many_machines_the_first_are_named_with_the_least_and_the_most() -> None:
    everywhere, most = words.conclusions(side_by_side({"a": [0.005, 0.004], "b": [0.005] * 7 + [0.020]}, 8))
    assert everywhere.startswith("resnet: a pays on all 8 (2.00x to 2.50x)")
    assert f"pays on {AMD}, {XEON}, " in most
    assert " and 4 more (" in most
    assert "costs on amd-ryzen-9-7950x3d-2-core (0.50" in most


def test_a_fact_that_most_share_is_told_of_the_others() -> None:
    entrants = side_by_side({}, 8).runs
    assert words.shared(entrants, ["2.12", *["2.13"] * 7]) == f"2.12 on {AMD}; 2.13 on the other 7"
    assert words.shared(entrants[:2], ["2.12", "2.13"]) == f"2.12 on {AMD}; 2.13 on {XEON}"
    assert words.shared(entrants, list("abcdefgh")).endswith("; and 5 values more")


def test_what_has_no_verdict_is_not_spoken_of() -> None:
    assert list(words.conclusions(side_by_side({"cuda_graph": [None]}, 2))) == []
    (sentence,) = words.conclusions(side_by_side({"cuda_graph": [None, 0.005]}, 2))
    assert AMD not in sentence.partition(", is skipped on")[0]
    assert sentence.endswith(f", is skipped on {AMD}.")


def test_what_is_the_same_is_called_neither_a_gain_nor_a_cost() -> None:
    (sentence,) = words.conclusions(side_by_side({"tf32": [0.010]}, 1))
    assert "pays" not in sentence
    assert "costs" not in sentence


def test_a_conclusion_from_other_work_says_so() -> None:
    (sentence,) = words.conclusions(side_by_side({"tf32": [0.005]}, 2, sizes=("small", "large")))
    assert sentence.endswith("(not the same work).")


def test_other_work_is_named_before_any_figure_with_what_it_is_where() -> None:
    text = printed(side_by_side({"tf32": [0.005]}, 2, sizes=("small", "large")))
    heading = f"not the same work, so only ratios to eager compare: {AMD}: small, batch of 64"
    assert heading in text
    assert f"{XEON}: large" in text
    assert text.index(heading) < text.index("samples/s")


def test_what_differs_between_the_machines_comes_before_the_figures() -> None:
    text = printed(side_by_side({"tf32": [0.005]}, 2))
    assert text.index("AMD EPYC 7763") < text.index("resnet")
    assert "torch" not in text


@pytest.mark.parametrize("is_over_time", [True, False])
def test_one_fact_that_differs_is_a_difference_and_the_runs_names_are_none(is_over_time: bool) -> None:
    found = side_by_side({}, 2)
    alike = replace(found.runs[0].run, name="20260102-000000")
    other = replace(alike, environment=replace(alike.environment, torch="2.12.0"))
    for run, heading in [(alike, "their environments are the same"), (other, "differences between them")]:
        second = replace(found.runs[1], found=replace(found.runs[1].found, run=run))
        text = printed(replace(found, runs=(found.runs[0], second), is_over_time=is_over_time))
        assert text.splitlines()[1] == heading


def test_many_machines_are_told_fact_by_fact_where_a_table_is_too_wide() -> None:
    text = printed(side_by_side({"tf32": [0.005]}, 8), width=100)
    assert f"AMD EPYC 7763 on {AMD}; Intel Xeon Platinum 8480C on {XEON}" in " ".join(text.split())
    assert "and 5 values more" in text


def test_what_was_not_measured_is_a_dash_and_why_is_told_once_where_it_is_the_same_everywhere() -> None:
    text = printed(side_by_side({"cuda_graph": [None]}, 3))
    assert text.count("it needs a CUDA device") == 1
    assert "0 J" not in text


def test_how_near_its_own_ceiling_each_machine_comes_is_a_column() -> None:
    text = printed(side_by_side({"tf32": [0.005]}, 2))
    assert "ceiling" in text
    assert "MFU" in text


def test_a_narrow_terminal_keeps_the_speedup() -> None:
    output = io.StringIO()
    print_comparison(side_by_side({"tf32": [0.005]}, 2), Console(file=output, width=80, force_terminal=True))
    assert "speedup" in output.getvalue()
    assert "compare.md also has: samples/s" in output.getvalue()


def test_one_run_alone_says_what_is_missing() -> None:
    assert words.ALONE in printed(side_by_side({"tf32": [0.005]}, 1))


def test_runs_with_nothing_in_common_say_so_in_one_line_and_are_shown_all_the_same() -> None:
    one, other = side_by_side({}, 1), side_by_side({}, 2)
    gpt = replace(other.workloads[0], workload="gpt", runs=(), loops=())
    found = replace(other, workloads=(one.workloads[0], gpt))
    text = printed(found)
    assert text.splitlines()[0] == text.splitlines()[-1] == words.NOTHING_IN_COMMON
    assert "eager" in text


def told(found: SideBySide) -> list[str]:
    return [answer.text for answer in words.answers(found)]


def test_the_answer_is_how_much_faster_a_machine_is_with_eager_and_with_the_best_loop_of_each() -> None:
    found = side_by_side({"tf32": [0.018, 0.004], "amp_bf16": [0.015, 0.005]}, 2, eager=(0.030, 0.010), launches=4)
    alike, best = told(found)

    assert re.fullmatch(
        rf"resnet with eager: {XEON} \(\S+ ms a step\) is (2\.99|3\.0)\S*x \[\S+, \S+\] as fast as {AMD} \(\S+ ms\)\.",
        alike,
    )
    assert best.startswith(f"resnet with each one's best loop: {XEON} (tf32, ")
    assert f"as fast as {AMD} (amp_bf16, " in best
    assert printed(found).endswith(f"{alike}\n{best}\n")


def test_the_best_loop_is_never_one_that_trains_otherwise_or_was_not_compared() -> None:
    times = dict(eager=(0.030, 0.010), launches=4)
    assert len(told(side_by_side({"tf32": [0.005]}, 2, departing=("tf32",), **times))) == 1
    assert len(told(side_by_side({"tf32": [0.005]}, 2, trained=(False,), **times))) == 1
    (_, best) = told(side_by_side({"tf32": [0.005, 0.004]}, 2, **times))
    assert best.startswith("resnet with each one's best loop, tf32: ")


def test_of_many_machines_the_fastest_is_held_against_each_in_their_order() -> None:
    (text,) = told(side_by_side({}, 4, eager=(0.020, 0.010, 0.0101, 0.040), launches=4))
    assert text.startswith(f"resnet with eager: {XEON} (")
    assert re.findall(r"as fast as (\w+)", text) == ["apple", "amd", "a"]
    assert re.search(r"is as fast as apple-m3-2-core \(\S+ ms\), ~ \[", text)


def test_machines_that_are_not_told_apart_are_called_neither_faster_nor_alike() -> None:
    (text,) = told(side_by_side({}, 2, eager=(0.020, 0.010), launches=1))
    assert text.endswith(f"is not told apart from {AMD} (20.0 ms), ~ [no interval].")


def test_steps_of_other_work_are_answered_by_ratios_to_the_baseline_alone() -> None:
    (text,) = told(side_by_side({"tf32": [0.005]}, 2, sizes=("small", "large"), launches=4))
    assert text.startswith("resnet: not the same work (size small or large): only ratios to eager compare; ")
    assert re.search(rf"the best loop is tf32 on {AMD} \((2\.0|1\.99)\S*x \[.*\]\) and tf32 on {XEON} \(", text)
    assert " ms" not in text


def test_runs_of_one_machine_over_time_and_a_run_alone_have_no_answer() -> None:
    found = side_by_side({"tf32": [0.005]}, 2)
    assert told(replace(found, is_over_time=True)) == []
    assert told(side_by_side({"tf32": [0.005]}, 1)) == []


def test_what_moved_is_told_with_its_interval_and_no_verdict() -> None:
    shift = Shift("resnet", "tf32", Estimate(1.2, 1.1, 1.3), Estimate(0.9, 0.8, 1.0), Estimate(0.75, 0.7, 0.8))
    found = replace(side_by_side({"tf32": [0.005]}, 2), is_over_time=True, shifts=(shift,), not_compared=("why (a b)",))
    text = printed(found)
    assert re.search(r"tf32  resnet +1\.20x \[1\.10, 1\.30\] +0\.90x \[0\.80, 1\.00\] +0\.75x \[0\.70, 0\.80\]", text)
    assert "no ratio: why (a b)" in text
    output = io.StringIO()
    print_comparison(found, Console(file=output, width=50, force_terminal=True, color_system=None))
    assert re.search(r"tf32 +0\.90x \[0\.80, 1\.00\]  0\.75x \[0\.70, 0\.80\]", output.getvalue())
    assert "compare.md also has: workload, speedup" in output.getvalue()
    assert "loopmark check" in text
    assert "pays on" not in text


@pytest.mark.parametrize("width", [20, 150])
def test_hostile_names_keep_the_table_in_shape(width: int) -> None:
    text = printed(side_by_side({name or "x": [0.005, None] for name in NAMES}, 2), width)
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert "a" * 100 not in text


def test_the_title_says_what_ran_on_what() -> None:
    found = side_by_side({"amp": [0.02]}, 2)
    first, second = (compared.name for compared in found.runs)
    assert words.title(found) == f"resnet on {first} and {second}"
    assert words.title(replace(found, is_over_time=True)) == f"resnet on {found.runs[0].run.machine.name}"


def test_where_one_run_alone_measured_the_baseline_nothing_compares() -> None:
    broken = make_run([Truth("eager", status="failed", reason="no memory"), Truth("tf32", 0.005)], launches=2, rounds=2)
    whole = make_run([Truth("eager"), Truth("tf32", 0.005)], launches=2, rounds=2)
    runs = (entrant(*broken, "a"), entrant(on("Xeon", whole[0]), whole[1], "b"))
    assert told(SideBySide(runs, everything(runs), is_over_time=False)) == [
        "resnet: no two runs measured eager, so nothing compares."
    ]


def test_baselines_that_differ_are_named_beside_their_machines() -> None:
    eager = make_run([Truth("eager", 0.020)], launches=3, rounds=2, launch_noise=0.001)
    own = make_run([Truth("tf32", 0.005)], launches=3, rounds=2, launch_noise=0.001, baseline="tf32")
    runs = (entrant(*eager, "a"), entrant(on("Xeon", own[0]), own[1], "b"))
    (text,) = told(SideBySide(runs, everything(runs), is_over_time=False))
    assert re.fullmatch(
        r"resnet with each one's baseline: b \(tf32, \S+ ms a step\) is .* a \(eager, \S+ ms\).*\.", text
    )
