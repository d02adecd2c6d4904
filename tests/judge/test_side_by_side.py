from dataclasses import replace
from datetime import UTC, datetime

import pytest

from loopmark.bench.judge.run_comparison import JudgedRun
from loopmark.bench.judge.side_by_side import (
    LONGEST,
    FoundRun,
    by_setting,
    compare_workloads,
    machine_names,
    number_alike,
    rank,
    settings_of,
    shifts,
)
from loopmark.bench.records.machine import Gpu
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from tests.support.side_by_side import entrant, everything, on, side_by_side
from tests.support.synthetic import Truth, machine, make_run


def plain_run(**plan: object) -> Run:
    run, _ = make_run([Truth("eager")], launches=1, rounds=1)
    return replace(run, plan=replace(run.plan, **plan))  # type: ignore[arg-type]


def measured(step: float, seed: int = 0) -> tuple[Run, Samples]:
    truths = [Truth("eager"), Truth("eager", repeat=True), Truth("tf32", step)]
    return make_run(truths, launches=5, rounds=4, steps=1, launch_noise=0.002, seed=seed)


def side(run: Run, samples: Samples) -> JudgedRun:
    return JudgedRun.of(run, replace(samples, phases=Samples.empty().phases))


def test_runs_of_one_machine_device_and_number_of_threads_are_one_setting_oldest_first() -> None:
    runs = [plain_run(), plain_run(threads=1), on("Another", plain_run()), plain_run()]
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (9, 1, 1, 3)]
    found = [FoundRun(str(i), run, day) for i, (run, day) in enumerate(zip(runs, days, strict=True))]

    assert [[one.folder for one in group] for group in by_setting(found).values()] == [["3", "0"], ["1"], ["2"]]


def test_the_first_cuda_device_is_one_setting_by_either_of_its_names() -> None:
    assert settings_of([plain_run(device="cuda")]) == settings_of([plain_run(device="cuda:0")])


def with_instructions(capability: str | None, **plan: object) -> Run:
    run = plain_run(**plan)
    return replace(run, environment=replace(run.environment, cpu_capability=capability))


def groups_of(*runs: Run) -> list[list[str]]:
    found = [FoundRun(str(i), run, datetime(2026, 1, 1 + i, tzinfo=UTC)) for i, run in enumerate(runs)]
    return [[one.folder for one in group] for group in by_setting(found).values()]


def test_processors_of_one_name_and_other_instructions_are_two_settings_with_names_of_their_own() -> None:
    narrow, wide = with_instructions("AVX2"), with_instructions("AVX512")
    assert groups_of(narrow, wide, narrow) == [["0", "2"], ["1"]]
    assert machine_names([narrow, wide]) == ["imaginary-2-core AVX2", "imaginary-2-core AVX512"]


def test_a_run_that_does_not_tell_its_instructions_belongs_to_the_only_ones_there_are() -> None:
    silent, narrow, wide = map(with_instructions, (None, "AVX2", "AVX512"))
    assert groups_of(silent, narrow) == [["0", "1"]]
    assert groups_of(silent, narrow, wide) == [["0"], ["1"], ["2"]]
    assert machine_names([silent, narrow, wide])[0] == "imaginary-2-core unknown"


def test_a_processor_s_instructions_do_not_tell_runs_on_a_gpu_apart() -> None:
    assert groups_of(*(with_instructions(one, device="cuda") for one in ("AVX2", "AVX512"))) == [["0", "1"]]


def test_a_machine_is_called_by_its_hardware_alone_while_that_is_no_other_s() -> None:
    assert machine_names([on("AMD EPYC", plain_run()), on("Apple M3", plain_run())]) == [
        "amd-epyc-2-core", "apple-m3-2-core",
    ]  # fmt: skip


def test_machines_that_are_called_alike_are_told_apart_by_their_fingerprints() -> None:
    small, large = (replace(plain_run(), machine=replace(machine(), memory_bytes=n * 2**30)) for n in (16, 64))
    names = machine_names([small, large])
    assert names == [f"imaginary-2-core-{run.machine.fingerprint}" for run in (small, large)]


def test_one_machine_in_several_settings_is_told_apart_by_what_differs() -> None:
    assert machine_names([plain_run(threads=1), plain_run(threads=2)]) == [
        "imaginary-2-core 1 thread", "imaginary-2-core 2 threads",
    ]  # fmt: skip


def test_a_machine_with_a_gpu_that_was_measured_on_its_processor_says_so() -> None:
    gpu = replace(machine(), gpus=(Gpu("NVIDIA H100", 80 * 2**30, "9.0", 132),))
    on_cpu, on_gpu = (replace(plain_run(device=device), machine=gpu) for device in ("cpu", "cuda"))
    assert machine_names([on_cpu]) == ["nvidia-h100 cpu"]
    assert machine_names([on_gpu]) == ["nvidia-h100"]
    assert machine_names([on_cpu, on_gpu]) == ["nvidia-h100 cpu", "nvidia-h100 cuda:0"]


@pytest.mark.parametrize("cpu", ["x" * 300, "word " * 60, "", "漢字", "../../etc <b>"])
def test_names_are_short_and_no_two_alike_however_long_the_hardware_is_called(cpu: str) -> None:
    runs = [
        replace(plain_run(threads=threads), machine=replace(machine(), cpu=cpu, memory_bytes=gib * 2**30))
        for gib in (16, 64)
        for threads in (1, 128)
    ]
    names = machine_names(runs)
    assert len(set(names)) == 4
    assert all(len(name) <= LONGEST for name in names)


def test_names_that_are_alike_are_numbered_and_the_others_left() -> None:
    assert number_alike(["a", "b", "a"]) == ["a (1)", "b", "a (2)"]


def test_other_work_under_one_name_is_not_the_same_work() -> None:
    run, samples = measured(0.005)
    larger = replace(run, cases=tuple(replace(case, batch_size=256) for case in run.cases))
    (same,) = everything([entrant(run, samples, "a"), entrant(on("b", run), samples, "b")])
    (other,) = everything([entrant(run, samples, "a"), entrant(on("b", larger), samples, "b")])

    assert same.is_same_work
    assert not other.is_same_work
    assert [work.batch_size for e in other.runs for work in other.works(e)] == [64, 256]


def test_the_baseline_comes_first_and_stays_whatever_loops_are_wanted() -> None:
    run, samples = make_run([Truth("tf32"), Truth("eager"), Truth("compile")], launches=1, rounds=1)
    (contest,) = compare_workloads([entrant(run, samples)], lambda _: True, lambda loop: loop == "compile")
    assert contest.loops == ("eager", "compile")


def test_a_workload_is_held_against_those_alone_that_have_it() -> None:
    run, samples = measured(0.005)
    other, other_samples = make_run([Truth("eager")], ("gpt",), launches=1, rounds=1)
    both = everything([entrant(run, samples, "a"), entrant(other, other_samples, "b")])
    assert {c.workload: [e.name for e in c.runs] for c in both} == {"resnet": ["a"], "gpt": ["b"]}


def test_runs_without_a_loop_in_common_have_nothing_in_common() -> None:
    assert side_by_side({"tf32": [0.005]}, 2).have_something_in_common
    assert not side_by_side({"tf32": [0.005]}, 1).have_something_in_common


def ranked(*seconds: float, **noise: float) -> list[tuple[str, str | None, float]]:
    """Eager at these seconds a step on machines of its own, in a ranking."""
    found = []
    for seed, step in enumerate(seconds):
        truths = [Truth("eager", step), Truth("eager", step, repeat=True)]
        run, samples = make_run(truths, rounds=4, steps=1, seed=seed, drift=0.0, **{"launch_noise": 0.002, **noise})
        found.append(entrant(on(f"CPU {step}", run), samples, f"{step * 1e3:g} ms"))
    places = rank(everything(found)[0].rows("eager"))
    return [(place.line.compared.name, place.verdict, place.slower.value if place.slower else 1.0) for place in places]


def test_machines_are_ranked_by_their_seconds_each_against_the_fastest() -> None:
    (first, none, _), (second, slower, twice), (third, also, fourfold) = ranked(0.010, 0.005, 0.020)

    assert (first, second, third) == ("5 ms", "10 ms", "20 ms")
    assert (none, slower, also) == (None, "slower", "slower")
    assert (twice, fourfold) == (pytest.approx(2, rel=0.02), pytest.approx(4, rel=0.04))


def test_a_difference_within_the_drift_that_a_check_allows_is_none() -> None:
    assert [verdict for _, verdict, _ in ranked(0.0100, 0.0105)] == [None, "same"]


def test_a_difference_that_is_not_wholly_beyond_the_drift_is_not_settled() -> None:
    assert [verdict for _, verdict, _ in ranked(0.010, 0.0111, launch_noise=0.01)] == [None, "inconclusive"]


def test_one_launch_alone_settles_nothing_between_machines() -> None:
    assert [verdict for _, verdict, _ in ranked(0.005, 0.020, launches=1)] == [None, "inconclusive"]


def test_a_loop_whose_speedup_doubled_has_a_ratio_of_two_within_its_interval() -> None:
    before, after = (measured(step, seed) for step, seed in ((0.010, 1), (0.005, 2)))
    (eager, shift), left_out = shifts(*(side(*run) for run in (before, after)))

    assert (shift.workload, shift.loop, left_out) == ("resnet", "tf32", ())
    assert shift.ratio.low < 2 < shift.ratio.high
    assert shift.ratio.high / shift.ratio.low < 1.1
    assert shift.before.value == pytest.approx(1, rel=0.05)
    assert shift.after.value == pytest.approx(2, rel=0.05)
    assert (eager.loop, eager.is_of_seconds) == ("eager", True)
    assert eager.before.value == pytest.approx(0.010, rel=0.3)


def test_a_baseline_that_became_slower_is_seen_although_no_ratio_moved() -> None:
    truths = [Truth("eager"), Truth("tf32", 0.005)], [Truth("eager", 0.020), Truth("tf32", 0.010)]
    runs = [make_run(made, drift=0.0, seed=seed) for seed, made in enumerate(truths)]
    (eager, tf32), _ = shifts(*(side(*run) for run in runs))

    assert eager.ratio.value == pytest.approx(0.5, rel=0.05)
    assert tf32.ratio.value == pytest.approx(1, rel=0.05)


def test_what_is_not_asked_for_has_neither_a_ratio_nor_a_reason() -> None:
    before, after = make_run([Truth("eager"), Truth("tf32"), Truth("compile")]), make_run([Truth("eager")])
    sides = side(*before), side(*after)

    assert shifts(*sides)[1] == ("only the oldest run has it (resnet tf32, resnet compile)",)
    assert shifts(*sides, lambda _, loop: loop == "tf32")[1] == ("only the oldest run has it (resnet tf32)",)


def test_a_loop_at_other_work_has_no_ratio_but_a_reason() -> None:
    run, samples = measured(0.005)
    larger = replace(run, cases=tuple(replace(case, batch_size=256) for case in run.cases))
    found, left_out = shifts(side(run, samples), side(larger, samples))

    assert found == ()
    assert all("different batch sizes, 64 before and 256 now" in reason for reason in left_out)


def test_every_loop_that_failed_since_is_named() -> None:
    run, samples = make_run([Truth("eager"), Truth("tf32"), Truth("compile")], launches=2, rounds=2, steps=1)
    ended = [run.cases[0], *(case.ended("failed", "boom") for case in run.cases[1:])]
    found, left_out = shifts(side(run, samples), side(replace(run, cases=tuple(ended)), samples))

    assert [shift.loop for shift in found] == ["eager"]
    assert left_out == ("now it failed: boom (resnet tf32, resnet compile)",)
