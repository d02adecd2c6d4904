"""The cards of a run: what to use, from when on, by which line of code, and what was not tried."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Summary, summarise
from loopmark.bench.judge.training import summarise_training
from loopmark.bench.records.run import Compilation
from loopmark.bench.report.cards import card_lines, cards, choice_record, matrix, title, title_of
from loopmark.bench.report.draw import as_json
from loopmark.bench.report.table import print_lines
from loopmark.bench.report.takeaway import choice_of
from tests.support.synthetic import Truth, make_run
from tests.support.trainings import Taught, make_training

EAGER = (Truth("eager"), Truth("eager", repeat=True))
LOOPS = [*EAGER, Truth("compile", 0.006, compile_seconds=20.0), Truth("tf32", 0.008), Truth("amp_bf16", 0.02)]
CODE = {"compile": ("model = torch.compile(model)",), "tf32": ('torch.set_float32_matmul_precision("high")',)}


def judged(truths: list[Truth], workloads: tuple[str, ...] = ("resnet",)) -> Summary:
    run, samples = make_run(truths, workloads)
    return summarise(replace(run, cases=tuple(replace(c, code=CODE.get(c.loop, ())) for c in run.cases)), samples)


def printed(summary: Summary, width: int = 100, *, terminal: bool = True) -> str:
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=terminal, color_system=None)
    print_lines(card_lines(summary, console), console)
    return output.getvalue()


def test_a_card_names_the_loop_for_long_runs_and_the_one_for_shorter_ones_with_their_code() -> None:
    (card,) = cards(judged(LOOPS))
    (long, use, code), (short, other, its_code), _ = card.uses
    assert long.startswith("long runs, ahead of tf32 from ")
    assert use.startswith("compile, 1.6")
    assert code == CODE["compile"]
    assert short == "shorter runs"
    assert other.startswith("tf32, 1.2")
    assert other.endswith("at no start-up cost")
    assert its_code == CODE["tf32"]


def test_a_card_names_what_was_not_tried_together_with_the_command_for_it() -> None:
    (card,) = cards(judged(LOOPS))
    command = "loopmark run --workload resnet --loop compile+tf32 --device cpu --size small"
    assert card.uses[-1] == ("worth trying, not tried together", "compile+tf32", (command,))
    (card,) = cards(judged([*LOOPS, Truth("tf32+compile", 0.01)]))
    assert len(card.uses) == 2


def test_the_command_names_a_task_and_a_step_by_their_files() -> None:
    run, samples = make_run([replace(one, loop=one.loop.replace("eager", "own:step")) for one in LOOPS], ("own:task",))
    plan = replace(
        run.plan, batch_size=8, workloads=("a b/own.py:task",), loops=("a b/own.py:step",), baseline="own:step"
    )
    cases = tuple(replace(case, code=CODE.get(case.loop, ())) for case in run.cases)
    (card,) = cards(summarise(replace(run, plan=plan, cases=cases), samples))
    (command,) = card.uses[-1][2]
    assert command.startswith("loopmark run --workload 'a b/own.py:task' --loop compile+tf32")
    assert command.endswith("--batch-size 8 --baseline 'a b/own.py:step'")


def test_a_loop_that_starts_at_once_is_for_all_runs() -> None:
    (card,) = cards(judged([*EAGER, Truth("tf32", 0.008)]))
    assert [when for when, *_ in card.uses] == ["all runs"]


def test_a_loop_that_starts_later_and_may_be_no_faster_is_not_advised_but_named() -> None:
    (card,) = cards(judged([*EAGER, Truth("compile", 0.00799, compile_seconds=20.0), Truth("tf32", 0.008)]))
    (when, use, _), *_ = card.uses
    assert (when, use.partition(",")[0]) == ("all runs", "tf32")
    assert card.notes[1].startswith("Not shown to be faster, and starts later: compile, 1.2")


def test_a_training_is_long_or_short_only_if_it_ends_outside_the_interval() -> None:
    summary = judged(LOOPS)
    (workload,) = summary.workloads
    choice, trained = choice_of(workload), summarise_training(*make_training([Taught("eager")])).workloads[0].rows[0]
    assert choice is not None
    assert choice.overtakes is not None
    assert trained.learning is not None

    def notes(steps: float) -> tuple[str, ...]:
        learning = replace(trained.learning, steps=Estimate(steps, steps, steps))  # type: ignore[type-var]
        base = replace(workload.rows[0], trained=replace(trained, learning=learning))
        return cards(replace(summary, workloads=(replace(workload, rows=(base, *workload.rows[1:])),)))[0].notes

    assert notes(0.9 * choice.overtakes.low)[0].endswith("a short run.")
    assert notes(choice.overtakes.value)[0].endswith("where neither is ahead for sure.")
    assert notes(1.1 * choice.overtakes.high)[0].endswith("a long run.")


def test_a_sentence_leaves_the_name_of_a_loop_as_it_is() -> None:
    run, samples = make_run([*EAGER, Truth("compile", 0.006, compilation=Compilation(0, 0, 0.0))])
    (card,) = cards(summarise(run, samples))
    (note,) = (note for note in card.notes if "nothing of it was compiled" in note)
    assert note.startswith("eager")


def test_without_a_comparison_of_trainings_a_card_warns_of_another_model() -> None:
    summary = judged(LOOPS)
    assert "No training was compared, so a faster loop may train another model." in cards(summary)[0].notes
    trained = summarise_training(*make_training([Taught("eager"), Taught("compile"), Taught("tf32")]))
    compared = summarise(summary.run, make_run(LOOPS)[1], trained)
    assert not any("No training" in note for note in cards(compared)[0].notes)


def test_without_a_measured_start_up_nothing_is_said_of_short_runs() -> None:
    summary = judged([*EAGER, Truth("tf32", 0.008)])
    rows = tuple(replace(row, break_even_steps=None) for row in summary.workloads[0].rows)
    (card,) = cards(replace(summary, workloads=(replace(summary.workloads[0], rows=rows),)))
    assert [when for when, *_ in card.uses] == ["long runs (start-up not measured)"]


def test_the_baseline_is_named_where_nothing_else_is_ahead_of_it_early() -> None:
    (card,) = cards(judged([*EAGER, Truth("compile", 0.006, compile_seconds=20.0)]))
    assert card.uses[1][:2] == ("shorter runs", "eager, since nothing is ahead of it that early")


def test_without_a_faster_loop_a_card_says_so() -> None:
    (card,) = cards(judged([*EAGER, Truth("amp_bf16", 0.02)]))
    assert not card.uses
    assert card.notes[0].startswith("No loop is faster than eager")


@pytest.mark.parametrize("loops", [LOOPS, LOOPS[:2]])
def test_a_card_of_an_interrupted_run_says_so_since_a_missing_loop_may_be_faster(loops: list[Truth]) -> None:
    summary = judged(loops)
    (card,) = cards(replace(summary, run=replace(summary.run, interrupted=True)))
    assert card.notes[0] == "Interrupted before all was measured."
    assert not any("nterrupted" in note for note in cards(summary)[0].notes)


def test_in_a_terminal_only_code_is_wider_than_it_and_nothing_is_lost() -> None:
    summary = judged(LOOPS)
    narrow, wide = printed(summary, 40), printed(summary, 300)
    code = {f"    {line}" for card in cards(summary) for *_, lines in card.uses for line in lines}
    assert max(len(line) for line in narrow.splitlines() if line not in code) <= 40
    assert "".join(narrow.split()) == "".join(wide.split())


def test_a_command_stays_on_one_line_to_be_copied() -> None:
    command = "    loopmark run --workload resnet --loop compile+tf32 --device cpu --size small"
    assert command in printed(judged(LOOPS), 40).splitlines()


def test_in_a_file_each_sentence_has_one_line() -> None:
    lines = printed(judged(LOOPS), 40, terminal=False).splitlines()
    assert any(line.startswith("  long runs, ahead of tf32 from ") and line.endswith("]") for line in lines)


def test_several_workloads_have_a_matrix_of_all_loops() -> None:
    skipped = Truth("cuda_graph", status="skipped", reason="needs a GPU")
    table = matrix(judged([*LOOPS, skipped], ("resnet", "gpt")))
    assert table.headings == ("loop", "resnet", "gpt")
    cells = {row[0].text: row[1] for row in table.cells}
    assert cells["eager"].text == "baseline"
    assert cells["compile"].text.startswith("1.6")
    assert cells["compile"].strong
    assert not cells["tf32"].strong
    assert cells["cuda_graph"].text == "skipped"
    assert "eager (again)" not in cells
    assert not matrix(judged(LOOPS))


@pytest.mark.parametrize(
    ("workloads", "said"),
    [
        ((), "nothing on Imaginary CPU"),
        (("resnet",), "resnet on Imaginary CPU"),
        (("a", "b", "c"), "a, b and c on Imaginary CPU"),
    ],
)
def test_the_title_says_what_ran_on_what(workloads: tuple[str, ...], said: str) -> None:
    assert title_of(make_run([*EAGER])[0], workloads) == said


def test_the_title_names_the_gpu_if_the_run_was_on_it() -> None:
    run, samples = make_run([*EAGER], device=True)
    assert title(summarise(run, samples)) == "resnet on NVIDIA Imaginary 1"


def test_json_has_the_choice_in_base_units() -> None:
    summary = judged(LOOPS)
    (workload,) = as_json(summary)["workloads"]
    assert workload["choice"] == choice_record(summary.workloads[0])
    assert workload["choice"]["long_runs"] == "compile"
    assert workload["choice"]["shorter_runs"] == "tf32"
    assert workload["choice"]["overtakes_after_steps_low"] < workload["choice"]["overtakes_after_steps"]
    (workload,) = as_json(judged([*EAGER]))["workloads"]
    assert workload["choice"] is None
