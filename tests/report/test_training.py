import csv
import dataclasses
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

from loopmark.bench.judge.summary import Summary, summarise
from loopmark.bench.judge.training import TrainingSummary, summarise_training
from loopmark.bench.records.training import Deviation
from loopmark.bench.report import training_words as words
from loopmark.bench.report.draw import as_json, draw, draw_training, training_as_json
from loopmark.bench.report.run_tables import print_summary
from loopmark.bench.report.takeaway import takeaway
from loopmark.bench.report.training_table import print_training, training_takeaway
from tests.support.hostile import NAMES
from tests.support.synthetic import Truth, make_run
from tests.support.trainings import Taught, make_training

TRUTHS = [Truth("eager"), Truth("eager", repeat=True), Truth("accumulate_2", 0.005), Truth("amp_bf16", 0.008)]
TAUGHT = [
    Taught("eager"),
    Taught("accumulate_2", error=0.3, layer="body.weight"),
    Taught("amp_bf16", error=0.02, bits=8),
]


def summary(truths: list[Truth] = TRUTHS, taught: list[Taught] = TAUGHT, workloads=("resnet",), **options) -> Summary:
    trained = summarise_training(*make_training(taught, workloads, **options))
    return summarise(*make_run(truths, workloads), trained)


def printed(made: Summary | TrainingSummary, width: int = 160) -> str:
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=True, color_system=None)
    if isinstance(made, Summary):
        print_summary(made, console)
    else:
        print_training(made, console)
    return output.getvalue()


def test_a_loop_that_departs_is_never_named_the_winner_and_the_sentence_says_why() -> None:
    said = takeaway(summary())
    assert "amp_bf16 is 1.2" in said
    assert "faster than eager" in said
    assert "accumulate_2 is faster (2.0" in said
    assert "but trains another model" in said
    assert said.index("amp_bf16") < said.index("accumulate_2")


def test_where_only_loops_that_depart_are_faster_no_loop_is_named() -> None:
    said = takeaway(summary(TRUTHS[:3], TAUGHT[:2]))
    assert said.startswith("On this CPU: on resnet, eager takes ")
    assert "accumulate_2 is faster (2.0" in said
    assert "but trains another model" in said


def test_where_one_that_departs_is_slower_not_every_verdict_is_open() -> None:
    made = summary([*TRUTHS[:2], Truth("accumulate_2", 0.02), Truth("amp_bf16", 0.010)])
    (workload,) = made.workloads
    rows = [dataclasses.replace(r, verdict="inconclusive") if r.verdict == "same" else r for r in workload.rows]
    said = takeaway(dataclasses.replace(made, workloads=(dataclasses.replace(workload, rows=tuple(rows)),)))
    assert "no loop is shown to be faster than eager" in said
    assert "every verdict" not in said


def test_a_winner_that_beats_one_that_departs_needs_no_excuse() -> None:
    truths = [*TRUTHS[:2], Truth("accumulate_2", 0.009), Truth("amp_bf16", 0.005)]
    assert "trains another model" not in takeaway(summary(truths))


def test_a_run_that_was_not_trained_says_nothing_of_it() -> None:
    made = summarise(*make_run(TRUTHS))
    assert "accumulate_2 is 2.0" in takeaway(made)
    assert "trains" not in printed(made)
    assert as_json(made)["training"] is None


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for made in (summary(workloads=("resnet", "gpt")), summarise_training(*make_training(TAUGHT))):
        assert max(map(cell_len, printed(made, width).splitlines())) <= width


def test_the_speedup_table_carries_the_verdict_and_names_the_layer() -> None:
    text = printed(summary())
    assert "within rounding" in text
    assert "departs from eager: at step 0 the gradient of body.weight is off by 30 %" in " ".join(text.split())
    assert "where 4e-06 is allowed for rounding to float32" in " ".join(text.split())


@pytest.mark.usefixtures("unrendered")
def test_the_causes_of_a_departure_are_told_in_the_terminal_on_the_page_and_in_json(tmp_path: Path) -> None:
    taught = [TAUGHT[0], dataclasses.replace(TAUGHT[1], causes=("it clips", "its update has lr 2"))]
    because = "is allowed for rounding to float32; because it clips, and its update has lr 2"
    for made in (summary(TRUTHS[:3], taught), summarise_training(*make_training(taught))):
        assert because in " ".join(printed(made).split())
    draw(tmp_path, *make_run(TRUTHS[:3]), make_training(taught))
    assert because in (tmp_path / "report.md").read_text()
    assert because in as_json(summary(TRUTHS[:3], taught))["training"]["workloads"][0]["cases"][2]["evidence"]


def test_an_average_that_never_moves_is_told_as_such() -> None:
    still = Deviation(7, "kept", "ema.weight", 1.0, 0.0, 0.0, 0.0)
    training, samples = make_training(TAUGHT[:1])
    rows = pd.DataFrame([{"proof": 0, **vars(still)}])
    made = summarise_training(training, dataclasses.replace(samples, deviations=rows))
    assert "the step's own ema.weight never moves, as eager's does" in printed(made)


UNPROVED = Taught("accumulate_2", reason="model not copied: step.py:3: TypeError: it holds a file")


@pytest.mark.usefixtures("unrendered")
def test_a_loop_without_a_proof_says_why_in_its_column_and_below_on_the_page_and_in_json(tmp_path: Path) -> None:
    taught, reason = [TAUGHT[0], UNPROVED], "not compared: model not copied: step.py:3: TypeError: it holds a file"
    made = summary(TRUTHS[:3], taught)
    for text in (printed(made), printed(summarise_training(*make_training(taught)))):
        assert "not compared: model not copied" in text
        assert f"accumulate_2: {reason}" in " ".join(text.split())
    draw(tmp_path, *make_run(TRUTHS[:3]), make_training(taught))
    assert f"| accumulate_2 | not compared: model not copied | {reason}" in (tmp_path / "report.md").read_text()
    found = as_json(made)
    assert found["workloads"][0]["cases"][2]["trains_as_baseline"] == "not compared: model not copied"
    assert found["training"]["workloads"][0]["cases"][2]["evidence"] == reason


def test_the_evidence_of_a_loop_within_rounding_says_how_near_the_bound_it_came() -> None:
    (workload,) = summarise_training(*make_training(TAUGHT)).workloads
    said = {row.label: words.evidence(row) for row in workload.rows}
    assert said["eager"] == "every bit of 8 steps is eager's: loss, gradients, parameters, buffers"
    assert "nothing was off by more than 8.0 % of what is allowed for rounding to bfloat16" in said["amp_bf16"]
    assert said["amp_bf16"].endswith("(the gradient of body.weight)")


def test_what_a_scaler_skipped_and_what_came_of_it_are_told() -> None:
    made = summary(
        [*TRUTHS[:2], Truth("amp_fp16")], [Taught("eager"), Taught("amp_fp16", skipped_steps=2, epochs_to_target=4)]
    )
    text = " ".join(printed(made).split())
    # Three seeds of four, five and six epochs of twenty steps.
    assert "in training the gradient scaler skipped 6 of 300 steps; its scale ended at 65,536" in text
    assert "to the target it took 1.2" in text
    assert "eager's steps" in text


def test_a_loop_that_diverges_says_at_which_step_and_how() -> None:
    bad = Taught("bad", qualities=(0.2,), ending="diverged", diverged_at_step=7, divergence="exploded")
    text = " ".join(printed(summarise_training(*make_training([Taught("eager"), bad]))).split())
    assert "bad: diverged: its loss exploded at step 7, seed 0" in text


def test_a_loop_whose_time_ran_out_is_not_said_to_miss_its_target() -> None:
    late = Taught("late", qualities=(0.2, 0.5), ending="spent its budget")
    text = " ".join(printed(summarise_training(*make_training([Taught("eager"), late]))).split())
    assert "late: had no time left to reach its target with 3 of 3 seeds, after 40 steps" in text
    assert "missed" not in text


def test_seconds_with_a_cold_start_take_it_from_the_timed_launches() -> None:
    truths = [*TRUTHS[:2], Truth("compile", 0.008, compile_seconds=20.0)]
    taught = [Taught("eager"), Taught("compile", error=1e-7, compile_seconds=2.0, start_seconds=2.0)]
    text = printed(summary(truths, taught, seeds=(0,)))
    line = next(line for line in text.splitlines()[10:] if line.startswith("compile"))
    assert "600 ms" in line
    assert "20.7 s" in line


def test_the_sentence_of_a_training_names_what_departs_and_who_is_soonest() -> None:
    taught = [*TAUGHT, Taught("quick", error=1e-7, step_seconds=0.005)]
    said = training_takeaway(summarise_training(*make_training(taught)))
    assert "accumulate_2 trains another model than eager" in said
    assert "quick is at accuracy of 0.9 2.0" in said
    assert "sooner" in said


@pytest.mark.parametrize(
    ("taught", "says"),
    [
        ([Taught("eager")], "nothing was compared with eager, and no loop is sure to be at accuracy of 0.9 sooner"),
        ([Taught("eager"), Taught("compile", error=1e-7)], "compile trains as eager does"),
        ([Taught("eager", qualities=(0.5, 0.5))], "eager is not at accuracy of 0.9 with every seed"),
        ([Taught("eager"), Taught("x", status="failed", reason="y")], "nothing was compared with eager"),
    ],
)
def test_the_sentence_claims_no_more_than_was_seen(taught: list[Taught], says: str) -> None:
    assert says in training_takeaway(summarise_training(*make_training(taught)))


def test_a_training_alone_is_drawn_twice_with_the_same_bytes(tmp_path: Path) -> None:
    made = make_training(TAUGHT, ("resnet", "gpt"))
    draw_training(tmp_path, *made)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    draw_training(tmp_path, *made)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first
    assert {path.name for path in first} >= {"report.md", "training.csv", "quality-resnet.svg", "training-gpt.png"}


@pytest.mark.usefixtures("unrendered")
def test_the_pages_show_every_verdict_with_its_evidence_and_only_plots_that_exist(tmp_path: Path) -> None:
    alone, within = tmp_path / "alone", tmp_path / "within"
    for folder in (alone, within):
        folder.mkdir()
    draw_training(alone, *make_training(TAUGHT))
    draw(within, *make_run(TRUTHS), make_training(TAUGHT))
    for folder in (alone, within):
        page = (folder / "report.md").read_text(encoding="utf-8")
        embedded = [line.rpartition("(")[2].rstrip(")") for line in page.splitlines() if line.startswith("![")]
        assert all((folder / name).is_file() for name in embedded)
        assert {"plots/quality-resnet.svg", "plots/training-resnet.svg"} <= set(embedded)
        assert "| accumulate_2 | departs | at step 0 the gradient of body.weight is off by 30 %" in page
        assert "Trained to accuracy of at least 0.9 on held-out data, 3 seeds." in page


@pytest.mark.usefixtures("unrendered")
def test_the_spreadsheet_has_a_row_a_case_in_base_units(tmp_path: Path) -> None:
    draw_training(tmp_path, *make_training(TAUGHT))
    with (tmp_path / "training.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["loop"], row["verdict"]) for row in rows] == [
        ("eager", "same"), ("eager", "same"), ("accumulate_2", "departs"), ("amp_bf16", "within rounding")
    ]  # fmt: skip
    assert rows[2]["layer"] == "body.weight"
    assert float(rows[2]["error"]) == 0.3
    assert float(rows[0]["seconds_to_target"]) == pytest.approx(0.01 * 20 * (3 * 4 * 5) ** (1 / 3))
    assert rows[1]["steps_to_target"] == ""


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_json_is_strict_however_little_was_learnt(seeds: tuple[int, ...]) -> None:
    taught = [
        *TAUGHT,
        Taught("bad", error=float("inf"), qualities=(float("nan"),), ending="diverged", diverged_at_step=0),
    ]
    made = summarise_training(*make_training(taught, seeds=seeds))
    content = json.loads(json.dumps(training_as_json(made, {}), allow_nan=False))
    cases = content["workloads"][0]["cases"]
    assert [case["verdict"] for case in cases] == ["same", "same", "departs", "within rounding", "departs"]
    assert len(cases[0]["trials"]) == len(seeds)


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_stays_out_of_the_markup(tmp_path: Path, name: str) -> None:
    layer = name.encode(errors="backslashreplace").decode()  # as stored in a table
    taught = [Taught("eager"), Taught(name, error=0.3, layer=layer), Taught("x", status="failed", reason=name)]
    training, samples = make_training(taught, (name,), seeds=(0,))
    training = dataclasses.replace(training, warnings=(name,))
    draw_training(tmp_path, training, samples)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "\x1b" not in page
    assert all(line.endswith(" |") for line in page.splitlines() if line.startswith("| "))
    assert "\x1b[31m" not in printed(summarise_training(training, samples))


@pytest.mark.usefixtures("unrendered")
def test_where_nothing_could_be_compared_the_page_says_so(tmp_path: Path) -> None:
    training, samples = make_training([Taught("eager"), Taught("tf32")])
    skipped = tuple(dataclasses.replace(proof, status="skipped") for proof in training.proofs)
    draw_training(tmp_path, dataclasses.replace(training, proofs=skipped), samples)
    for name in ("report.html", "report.md"):
        assert "Nothing was compared with eager." in (tmp_path / name).read_text(encoding="utf-8")


def test_a_number_of_steps_that_nobody_could_hold_takes_no_memory() -> None:
    training, samples = make_training(TAUGHT)
    endless = tuple(dataclasses.replace(proof, steps=2**62) for proof in training.proofs)
    (workload,) = summarise_training(dataclasses.replace(training, proofs=endless), samples).workloads
    assert len(workload.rows) >= len(TAUGHT)


@pytest.mark.parametrize("loss", [1.7e308, -1e308])
def test_a_loss_near_the_largest_float_costs_its_plot_and_no_more(tmp_path: Path, loss: float) -> None:
    run, samples = make_run(TRUTHS[:2], launches=2, rounds=2)
    samples.losses["loss"] = loss
    draw(tmp_path, run, samples)
    assert (tmp_path / "report.html").exists()


def test_a_run_that_compared_steps_and_trained_nothing_says_so_and_keeps_its_verdicts() -> None:
    made = summary(seeds=(), target=None)
    terminal = printed(made)

    assert "within rounding" in terminal
    assert "trained to" not in terminal
    assert "\n\n\n" not in terminal
    assert made.trained is not None
    for workload in made.trained.workloads:
        told = words.heading(workload, made.trained.training)
        assert told == "compared with eager step by step, and not trained; `loopmark train` does both"


def test_a_target_that_the_first_steps_reach_is_said_to_tell_nothing_of_speed() -> None:
    said = "the first ones decide the time"
    for epochs, is_said in ((1, True), (3, False)):
        made = summarise_training(*make_training([Taught("eager", epochs_to_target=epochs)], seeds=(0,)))
        assert (said in words.heading(made.workloads[0], made.training)) is is_said
