import dataclasses

from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.judge.summary import Summary, summarise
from loopmark.bench.report.takeaway import takeaway
from tests.support.synthetic import Truth, make_run

EAGER = (Truth("eager"), Truth("eager", repeat=True))


def judged(*truths: Truth, workloads: tuple[str, ...] = ("resnet",), device: bool = False) -> Summary:
    return summarise(*make_run(list(truths), workloads, device=device))


def with_rows(summary: Summary, **changes: object) -> Summary:
    """The same summary, with replaced fields in the rows of loops other than the baseline."""
    workloads = []
    for workload in summary.workloads:
        rows = tuple(
            dataclasses.replace(row, **changes) if row.verdict else row  # type: ignore[arg-type]
            for row in workload.rows
        )
        workloads.append(dataclasses.replace(workload, rows=rows))
    return dataclasses.replace(summary, workloads=tuple(workloads))


def test_names_the_fastest_loop_with_its_interval() -> None:
    summary = with_rows(judged(*EAGER, Truth("tf32", 0.008)), speedup=Estimate(1.21, 1.19, 1.23), verdict="faster")
    assert takeaway(summary) == ("On this CPU: on resnet, tf32 is 1.21x faster than eager [1.19, 1.23].")


def test_says_when_a_compilation_is_paid_for() -> None:
    text = takeaway(judged(*EAGER, Truth("compile", 0.008, compile_seconds=20.0)))
    assert "steps it has paid for its compilation)" in text


def test_a_winner_that_compiled_nothing_has_nothing_to_pay_for() -> None:
    assert "paid for" not in takeaway(judged(*EAGER, Truth("tf32", 0.008)))


def test_no_loop_is_called_faster_without_the_verdict() -> None:
    for verdict in ("same", "inconclusive", "slower"):
        text = takeaway(
            with_rows(judged(*EAGER, Truth("tf32", 0.005)), verdict=verdict, speedup=Estimate(2.0, 1.9, 2.1))
        )
        assert "tf32 is 2" not in text
        assert "x faster" not in text


def test_no_winner_names_the_noise_floor() -> None:
    summary = with_rows(judged(*EAGER, Truth("tf32")), verdict="same")
    summary = dataclasses.replace(
        summary, workloads=tuple(dataclasses.replace(w, noise_floor=0.009) for w in summary.workloads)
    )
    assert "no loop is faster than eager beyond the noise floor of 0.90 %." in takeaway(summary)


def test_nothing_settled_is_said_so() -> None:
    assert "every verdict is inconclusive" in takeaway(with_rows(judged(*EAGER, Truth("tf32")), verdict="inconclusive"))


def test_without_a_baseline_nothing_is_compared() -> None:
    assert takeaway(judged(Truth("tf32"))) == (
        "On this CPU: on resnet, eager was not measured, so nothing is called faster or slower; "
        "name another loop to compare with: --baseline tf32."
    )


def test_where_the_baseline_fails_its_reason_and_another_for_the_option_are_named() -> None:
    run, samples = make_run([Truth("eager", status="failed", reason="no closure; name one"), Truth("own:step")])
    run = dataclasses.replace(run, plan=dataclasses.replace(run.plan, loops=("eager", "train/own.py:step")))
    assert takeaway(summarise(run, samples)) == (
        "On this CPU: on resnet, eager cannot run it (failed: no closure), so nothing is called faster or slower; "
        "name another loop to compare with: --baseline train/own.py:step."
    )
    stopped = takeaway(summarise(dataclasses.replace(run, interrupted=True), samples))
    assert "--baseline" not in stopped


def test_a_workload_that_cannot_be_made_is_no_fault_of_the_baseline() -> None:
    run, samples = make_run([Truth("eager", status="failed", reason="no data")])
    unmade = dataclasses.replace(run.cases[0], parameters=None)
    assert "--baseline" not in takeaway(summarise(dataclasses.replace(run, cases=(unmade,)), samples))


def test_when_everything_failed_it_says_how() -> None:
    failed = Truth("eager", status="failed", reason="boom"), Truth("compile", status="timed_out", reason="300 s")
    assert takeaway(judged(*failed)) == (
        "On this CPU: on resnet, nothing was measured: of 2 loops, 1 failed, 1 timed out; "
        "name another loop to compare with: --baseline path/to/file.py:step."
    )


def test_the_baseline_alone_tells_where_its_time_goes() -> None:
    assert takeaway(judged(Truth("eager"))).endswith("a step, and backward is 53 % of eager's step.")


def test_several_workloads_make_one_sentence_with_a_clause_each() -> None:
    text = takeaway(judged(*EAGER, Truth("tf32", 0.008), workloads=("resnet", "gpt", "regression"), device=True))
    assert text.startswith("On this GPU: on resnet, tf32 is 1.2")
    assert text.count("; on ") == 2
    assert text.count(". ") == 0
    assert text.endswith(".")


def test_what_was_interrupted_says_so_first_since_what_it_lacks_may_be_faster() -> None:
    summary = judged(*EAGER, Truth("tf32", 0.008))
    cut = dataclasses.replace(summary, run=dataclasses.replace(summary.run, interrupted=True))
    assert takeaway(cut).startswith("Interrupted before all was measured: on this CPU: on resnet, tf32 is 1.2")
    assert takeaway(summary).startswith("On this CPU: on resnet, tf32 is 1.2")
