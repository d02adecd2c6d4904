"""Real training of small loops, in real processes."""

import math
import os
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.training import summarise_training
from loopmark.bench.measure.machine import CommandFacts, describe_machine
from loopmark.bench.measure.plan import PlanOptions, make_plan
from loopmark.bench.measure.pool import worker_pool
from loopmark.bench.measure.training.stopping import Terms
from loopmark.bench.measure.training.trainer import PROOF_STEPS, Trainer
from loopmark.bench.measure.training.trials import NEVER_REACHED, Endings
from loopmark.bench.records.training import COLUMNS, Proof, Training, TrainingSamples, Trial, read_training

EXAMPLES = Path(__file__).parents[2] / "examples"
BAD = EXAMPLES / "misbehaving.py"
NO_LIMIT = 1000.0
"""Seconds of training beyond any trial here, so that the machine's speed decides nothing."""
TO_TARGET = Terms(seeds=1, until="target", budget_seconds=NO_LIMIT)

OWN = """
import time
from functools import partial

import torch
import torch.nn.functional as F

from loopmark.loops import eager
from loopmark.loops.catalog import WORKLOADS
from loopmark.loops.task import Task

taken = 0


def loses_its_loss_at_step_7(task, inputs, targets):
    global taken
    yield from eager.step(task, inputs, targets)
    taken += 1
    if taken == 8:
        task.last_loss = task.last_loss * float("nan")


def hangs_at_step_20(task, inputs, targets):
    global taken
    yield from eager.step(task, inputs, targets)
    taken += 1
    if taken == 21:
        time.sleep(1000)


def leaves_no_loss(task, inputs, targets):
    yield from eager.step(task, inputs, targets)
    task.last_loss = None


def runaway(device, batch_size, seed):
    task = WORKLOADS["regression"].make(device, "small", batch_size, seed)
    task.make_optimizer = partial(torch.optim.SGD, lr=1e6)
    return task


def aimless(device, batch_size, seed):
    task = WORKLOADS["regression"].make(device, "small", batch_size, seed)
    task.goal = None
    return task
"""


class Silence:
    """Progress without a reader; it calls ``then`` at the first message that matches ``waits_for``."""

    def __init__(self, waits_for: str = "never", then: Callable[[], object] = lambda: None) -> None:
        self.told: list[tuple[str, float]] = []
        self._waits_for, self._then = waits_for, then

    def tell(self, doing: str, done: float, remaining_seconds: float | None) -> None:
        first = not any(re.search(self._waits_for, before) for before, _ in self.told)
        self.told.append((doing, done))
        if first and re.search(self._waits_for, doing):
            self._then()


def train(
    folder: Path,
    terms: Terms = TO_TARGET,
    progress: Silence | None = None,
    endings: Endings | None = None,
    **wishes,
) -> tuple[Training, TrainingSamples]:
    usual = {"workloads": ["regression"], "loops": ["eager"], "threads": 1, "batch_size": 64}
    plan = make_plan(PlanOptions(command=["loopmark", "train"], device="cpu", **{**usual, **wishes}))
    folder.mkdir(exist_ok=True)
    with worker_pool(plan, folder) as pool:
        facts = CommandFacts(plan, describe_machine("cpu"), datetime.now(UTC))
        return Trainer(facts, terms, progress or Silence(), endings).run(pool)


def trial_of(training: Training, loop: str, seed: int = 0) -> Trial:
    (found,) = (trial for trial in training.trials if (trial.loop, trial.seed) == (loop, seed))
    return found


def proof_of(training: Training, loop: str, repeat: bool = False) -> Proof:
    (found,) = (proof for proof in training.proofs if (proof.loop, proof.repeat) == (loop, repeat))
    return found


def losses_of(training: Training, samples: TrainingSamples, loop: str, seed: int = 0) -> list[float]:
    index = training.trials.index(trial_of(training, loop, seed))
    rows = samples.training_losses[samples.training_losses["trial"] == index]
    assert list(rows["step"]) == list(range(len(rows)))
    return list(rows["loss"])


def processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN)
    return path


LOOPS = ["deterministic", "foreach_optimizer", "amp_fp16", "cuda_graph", f"{BAD}:prints"]
Trained = tuple[Training, TrainingSamples, Path, Silence]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder, progress = tmp_path_factory.mktemp("trainings") / "good", Silence()
    terms = Terms(seeds=2, until="convergence", budget_seconds=NO_LIMIT)
    training, samples = train(folder, terms, progress, loops=LOOPS)
    return training, samples, folder, progress


def test_every_loop_trains_from_every_seed_and_what_the_machine_lacks_is_a_skip_with_its_reason(good: Trained) -> None:
    training = good[0]
    lacks = "cuda_graph needs a CUDA device; this "
    for seed in (0, 1):
        for loop in ("eager", "deterministic", "foreach_optimizer", "amp_fp16", "misbehaving:prints"):
            trial = trial_of(training, loop, seed)
            assert (trial.status, trial.ending) == ("ok", "converged")
            assert trial.steps_per_epoch == 5
            assert 0 < (trial.converged_at_step or 0) < trial.steps
        assert trial_of(training, "cuda_graph", seed).status == "skipped"
        assert (trial_of(training, "cuda_graph", seed).reason or "").startswith(lacks)
    assert (proof_of(training, "cuda_graph").reason or "").startswith(lacks)
    assert training.seeds == (0, 1)


def test_there_is_a_loss_for_every_step_and_a_quality_for_every_epoch_the_first_of_the_untrained(good: Trained) -> None:
    training, samples, _, _ = good
    for index, trial in enumerate(training.trials):
        rows = samples.evaluations[samples.evaluations["trial"] == index]
        if trial.status != "ok":
            assert rows.empty
            continue
        assert len(losses_of(training, samples, trial.loop, trial.seed)) == trial.steps
        assert list(rows["step"]) == list(range(0, trial.steps + 1, 5))
        assert rows["seconds"].iloc[0] == 0
        assert rows["seconds"].is_monotonic_increasing
        assert rows["quality"].iloc[-1] > rows["quality"].iloc[0]


def test_loops_with_the_same_kernels_give_the_same_losses_and_another_seed_gives_others(good: Trained) -> None:
    training, samples, _, _ = good
    eager = losses_of(training, samples, "eager")
    for loop in ("deterministic", "foreach_optimizer", "misbehaving:prints"):
        assert losses_of(training, samples, loop) == eager
    assert losses_of(training, samples, "amp_fp16")[0] == pytest.approx(eager[0], rel=1e-2)
    assert losses_of(training, samples, "amp_fp16") != eager
    assert losses_of(training, samples, "eager", seed=1)[0] != eager[0]


def test_the_same_plan_twice_gives_the_same_losses_qualities_and_proofs_to_the_last_bit(
    good: Trained, tmp_path: Path
) -> None:
    training, samples, _, _ = good
    terms = Terms(seeds=2, until="convergence", budget_seconds=NO_LIMIT)
    again, others = train(tmp_path / "again", terms, loops=LOOPS)
    assert others.training_losses.equals(samples.training_losses)
    assert others.deviations.equals(samples.deviations)
    assert others.evaluations[["trial", "step", "quality"]].equals(samples.evaluations[["trial", "step", "quality"]])
    assert [proof.sha256 for proof in again.proofs] == [proof.sha256 for proof in training.proofs]
    assert [trial.converged_at_step for trial in again.trials] == [t.converged_at_step for t in training.trials]


def test_eager_is_compared_twice_and_in_two_processes_comes_to_the_same_end(good: Trained) -> None:
    training = good[0]
    first, second = proof_of(training, "eager"), proof_of(training, "eager", repeat=True)
    assert first.steps == second.steps == first.same_steps == second.same_steps == PROOF_STEPS
    assert first.sha256 == second.sha256 is not None
    verdicts = {row.label: row.equivalence.verdict for row in summarise_training(*good[:2]).workloads[0].rows}
    assert verdicts == {
        "eager": "same", "eager (again)": "same", "deterministic": "same", "foreach_optimizer": "same",
        "amp_fp16": "within rounding", "cuda_graph": None, "misbehaving:prints": "same",
    }  # fmt: skip


def test_skipped_steps_and_the_final_scale_are_those_of_a_scaler_and_others_have_none(good: Trained) -> None:
    training = good[0]
    scaled, plain = trial_of(training, "amp_fp16"), trial_of(training, "eager")
    assert (scaled.skipped_steps or 0) > 0
    assert (scaled.final_scale or 0) > 0
    assert (plain.skipped_steps, plain.final_scale) == (None, None)
    assert proof_of(training, "amp_fp16").skipped_steps > 0


def test_the_first_steps_are_timed_and_nothing_was_compiled(good: Trained) -> None:
    for trial in good[0].trials:
        if trial.status == "ok":
            assert len(trial.first_steps_seconds) == 5
            assert (trial.setup_seconds or 0) > 0
            assert (trial.compile_seconds, trial.compile_cache) == (0, "none")


def test_the_folder_holds_what_was_returned_and_what_the_loops_printed(good: Trained) -> None:
    training, samples, folder, _ = good
    read = read_training(folder)
    assert read is not None
    assert read[0] == training
    for name in COLUMNS:
        assert getattr(read[1], name).equals(getattr(samples, name))
    logs = [log.read_text() for log in (folder / "logs").iterdir()]
    assert len(logs) == 3  # of its comparison and of both seeds; the other loops printed nothing
    assert all("a word from the loop" in log for log in logs)


def test_progress_names_the_workload_and_never_goes_back(good: Trained) -> None:
    told = good[3].told
    assert all(doing.startswith("regression · ") for doing, _ in told)
    fractions = [done for _, done in told]
    assert fractions == sorted(fractions)
    assert all(0 <= done <= 1 for done in fractions)


def test_training_to_the_target_ends_at_the_first_quality_that_meets_it(tmp_path: Path) -> None:
    training, samples = train(tmp_path / "to target")
    (trial,), target = training.trials, training.targets["regression"]
    quality = samples.evaluations["quality"]
    assert trial.ending == "reached the target"
    assert target.is_met(quality.iloc[-1])
    assert not any(target.is_met(before) for before in quality[:-1])


def test_a_budget_that_is_spent_ends_training_with_what_was_learnt(tmp_path: Path) -> None:
    training, samples = train(tmp_path / "budget", Terms(seeds=1, until="convergence", budget_seconds=1e-9))
    (trial,) = training.trials
    assert trial.ending == "spent its budget"
    assert trial.steps == len(losses_of(training, samples, "eager")) > 0


@pytest.fixture(scope="module")
def astray(own: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, TrainingSamples]:
    loops = [f"{own}:loses_its_loss_at_step_7", f"{own}:leaves_no_loss", *(f"{BAD}:{name}" for name in WRONG)]
    folder = tmp_path_factory.mktemp("trainings") / "astray"
    terms = Terms(seeds=2, until="convergence", budget_seconds=NO_LIMIT)
    return train(folder, terms, loops=loops)


WRONG = {
    "raises": ("failed", r"misbehaving\.py:\d+: ValueError: the loop's own mistake"),
    "raises_at_once": ("failed", r"misbehaving\.py:\d+: ValueError: wrong from the start"),
    "is_killed": ("failed", "killed by SIGKILL"),
    "exits": ("failed", r"misbehaving\.py:\d+: SystemExit: 3"),
    "yields_an_unknown_phase": ("failed", r"misbehaving\.py:\d+: the step yields 3, which is no phase"),
    "yields_nothing": ("failed", "yields no phase"),
}


def test_a_loss_that_is_lost_is_told_at_its_step_and_training_stops_there(
    astray: tuple[Training, TrainingSamples],
) -> None:
    for seed in (0, 1):
        trial = trial_of(astray[0], "own:loses_its_loss_at_step_7", seed)
        assert (trial.status, trial.ending) == ("ok", "diverged")
        assert (trial.diverged_at_step, trial.divergence) == (7, "not a number")
        losses = losses_of(*astray, "own:loses_its_loss_at_step_7", seed)
        assert len(losses) == trial.steps == 8
        assert math.isnan(losses[7])


def test_its_comparison_ends_there_too_and_it_departs(astray: tuple[Training, TrainingSamples]) -> None:
    assert proof_of(astray[0], "own:loses_its_loss_at_step_7").lost_at_step == 7
    row = summarise_training(*astray).row("regression", "own:loses_its_loss_at_step_7", repeat=False)
    assert row is not None
    assert row.equivalence.verdict == "departs"


@pytest.mark.parametrize("loop", WRONG)
def test_a_loop_that_goes_wrong_has_its_reason_on_one_line_with_every_seed(
    astray: tuple[Training, TrainingSamples], loop: str
) -> None:
    status, says = WRONG[loop]
    for seed in (0, 1):
        trial = trial_of(astray[0], f"misbehaving:{loop}", seed)
        assert trial.status == status
        assert trial.reason is not None
        assert re.search(says, trial.reason)
        assert "\n" not in trial.reason


def test_a_step_that_leaves_no_loss_is_compared_but_cannot_be_watched_while_it_trains(
    astray: tuple[Training, TrainingSamples],
) -> None:
    assert proof_of(astray[0], "own:leaves_no_loss").same_steps == PROOF_STEPS
    trial = trial_of(astray[0], "own:leaves_no_loss")
    assert trial.status == "skipped"
    assert "leaves no loss in task.last_loss" in (trial.reason or "")


def test_the_others_go_on_to_their_end_when_loops_go_wrong(astray: tuple[Training, TrainingSamples]) -> None:
    for seed in (0, 1):
        assert trial_of(astray[0], "eager", seed).ending == "converged"
    assert not astray[0].interrupted


def test_a_learning_rate_beyond_reason_explodes_and_the_step_is_told(own: Path, tmp_path: Path) -> None:
    training, samples = train(tmp_path / "runaway", workloads=[f"{own}:runaway"], loops=["foreach_optimizer"])
    for loop in ("eager", "foreach_optimizer"):
        trial, losses = trial_of(training, loop), losses_of(training, samples, loop)
        assert (trial.status, trial.ending) == ("ok", "diverged")
        assert trial.diverged_at_step is not None
        assert trial.steps < 30
        assert losses[0] < 10
        assert trial.diverged_at_step == 1 or not math.isfinite(losses[trial.diverged_at_step])
    # Eager loses its loss as well, so a lost loss is no evidence against another loop.
    rows = summarise_training(training, samples).workloads[0].rows
    assert {row.equivalence.verdict for row in rows} <= {"same", "within rounding", None}


def test_a_loop_that_hangs_is_ended_at_its_limit_while_the_others_go_on_and_is_not_tried_again(
    own: Path, tmp_path: Path
) -> None:
    before = processes()
    terms = Terms(seeds=2, until="convergence", budget_seconds=NO_LIMIT)
    training, _ = train(tmp_path / "hangs", terms, loops=[f"{own}:hangs_at_step_20"], limit_seconds=6.0)
    for seed in (0, 1):
        trial = trial_of(training, "own:hangs_at_step_20", seed)
        assert trial.status == "timed_out"
        assert trial.reason == "gave no answer within 6 s and was ended; --limit allows more"
        assert trial_of(training, "eager", seed).ending == "converged"
    assert trial_of(training, "own:hangs_at_step_20", 0).steps == 20
    assert trial_of(training, "own:hangs_at_step_20", 1).steps == 0
    assert processes() <= before | fork_servers()


def fork_servers() -> set[int]:
    """The processes that workers are forked from, which remain for later workers."""
    return {child.pid for child in psutil.Process().children()}


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_keeps_what_was_trained_until_then(tmp_path: Path) -> None:
    terms = Terms(seeds=3, until="convergence", budget_seconds=NO_LIMIT)
    progress = Silence("seed 1 · step 10", press_ctrl_c)
    training, samples = train(tmp_path / "interrupted", terms, progress, loops=["foreach_optimizer"])
    assert training.interrupted
    assert [trial.ending for trial in training.trials if trial.seed == 0] == ["converged"] * 2
    cut = [trial for trial in training.trials if trial.seed == 1]
    assert {trial.ending for trial in cut} == {"was interrupted"}
    assert max(trial.steps for trial in cut) == 10
    for trial in cut:
        assert len(losses_of(training, samples, trial.loop, 1)) == trial.steps
    read = read_training(tmp_path / "interrupted")
    assert read is not None
    assert read[0] == training
    assert processes() <= fork_servers()


def test_ctrl_c_before_a_loop_has_taken_a_step_says_that_it_was_never_reached(tmp_path: Path) -> None:
    progress = Silence("seed 0 · step 0", press_ctrl_c)
    training, samples = train(tmp_path / "interrupted", progress=progress)
    (trial,) = training.trials
    assert (trial.status, trial.reason) == ("skipped", NEVER_REACHED)
    assert proof_of(training, "eager").status == "ok"
    assert samples.training_losses.empty


def test_ctrl_c_while_loops_are_compared_keeps_the_comparisons_that_were_done(tmp_path: Path) -> None:
    progress = Silence("foreach_optimizer · compared", press_ctrl_c)
    training, _ = train(tmp_path / "interrupted", progress=progress, loops=["foreach_optimizer"])
    assert training.interrupted
    assert [(proof.loop, proof.repeat) for proof in training.proofs] == [("eager", False), ("eager", True)]
    assert training.trials == ()
    assert read_training(tmp_path / "interrupted") is not None


def test_a_workload_without_a_target_is_compared_and_not_trained_unless_the_terms_insist(
    own: Path, tmp_path: Path
) -> None:
    training, samples = train(tmp_path / "aimless", workloads=[f"{own}:aimless"], loops=["foreach_optimizer"])
    assert training.targets == {}
    for trial in training.trials:
        assert trial.status == "skipped"
        assert trial.reason == "own:aimless states no target, so its loops are not trained"
    assert proof_of(training, "foreach_optimizer").same_steps == PROOF_STEPS
    assert samples.evaluations.empty
    insisting = Terms(seeds=1, until="convergence", budget_seconds=NO_LIMIT, insists=True)
    with pytest.raises(BadInput, match="own:aimless states no target; give its Task a goal="):
        train(tmp_path / "insisting", insisting, workloads=["regression", f"{own}:aimless"])
    assert not (tmp_path / "insisting" / "training.json").exists()  # the error came before any training


@pytest.mark.parametrize(
    ("loop", "says"),
    [("yields_an_unknown_phase", "the step yields 3, which is no phase"), ("yields_nothing", "yields no phase")],
)
def test_a_step_that_is_none_is_bad_input_where_the_terms_insist(tmp_path: Path, loop: str, says: str) -> None:
    insisting = Terms(seeds=1, until="convergence", budget_seconds=NO_LIMIT, insists=True)
    with pytest.raises(BadInput, match=says):
        train(tmp_path / "bad", insisting, loops=[f"{BAD}:{loop}"])
    assert processes() <= fork_servers()


def test_what_could_not_be_timed_is_neither_compared_nor_trained(tmp_path: Path) -> None:
    endings: Endings = {("regression", "foreach_optimizer"): ("failed", "it could not be timed")}
    training, _ = train(tmp_path / "endings", endings=endings, loops=["foreach_optimizer"])
    for one in (proof_of(training, "foreach_optimizer"), trial_of(training, "foreach_optimizer")):
        assert (one.status, one.reason) == ("failed", "it could not be timed")
    assert trial_of(training, "eager").ending == "reached the target"


def test_a_workload_that_cannot_be_made_fails_every_loop_with_the_place_of_its_mistake(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def make_task(device, batch_size, seed):\n    raise OSError('no data today')\n")
    training, _ = train(tmp_path / "broken", workloads=["regression", f"{path}:make_task"])
    broken = [one for one in (*training.proofs, *training.trials) if one.workload == "broken:make_task"]
    assert len(broken) == 3
    for one in broken:
        assert one.status == "failed"
        assert "broken.py:2: OSError: no data today" in (one.reason or "")
    assert [t.ending for t in training.trials if t.workload == "regression"] == ["reached the target"]
