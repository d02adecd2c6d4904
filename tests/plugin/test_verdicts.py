"""A regression fails the test that found it; other verdicts and their effect on a test."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopmark.bench.plugin.measurement import Stop
from tests.plugin.conftest import ONE_TEST, Project

AGAINST_EAGER = """
def test_step(loop_benchmark):
    loop_benchmark("resnet", "amp_bf16", against="eager", threshold=0.05)
"""
EAGER = """
def test_step(loop_benchmark):
    loop_benchmark("resnet")
"""


def stored(project: Project, change: Callable[[dict[str, Any]], None] = lambda kept: None) -> None:
    """Store a run to compare with, after ``change`` to its record of the loop."""
    project.run("--benchmark-save=before")
    (path,) = Path(".benchmarks").glob("*/*.json")
    content = json.loads(path.read_text())
    for row in content["benchmarks"]:
        if "workload" in row["extra_info"].get("loopmark", {}):
            change(row["extra_info"]["loopmark"])
    path.write_text(json.dumps(content))


def junit(path: str = "junit.xml") -> ElementTree.Element:
    (case,) = ElementTree.fromstring(Path(path).read_text()).iter("testcase")
    return case


def test_a_loop_that_is_slower_than_the_one_it_is_against_fails_its_test_and_junit_sees_it(project: Project) -> None:
    project.seconds = {"amp_bf16": 0.014}
    done = project.run("--junitxml=junit.xml", test=AGAINST_EAGER)
    (failure,) = junit().iter("failure")

    done.assert_outcomes(failed=1)
    assert "regression: amp_bf16 on resnet takes " in failure.get("message", "")
    done.stdout.fnmatch_lines(
        ["regression: amp_bf16 on resnet takes 1* ms a step, eager took * ms: that is 1.*x [[]1.*], where 5.0 % more *"]
    )
    done.stdout.no_fnmatch_line("Traceback*")


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0.010, "same"), (0.005, "faster"), (0.0102, "same"), (0.014, "slower")]
)
def test_the_verdict_is_in_the_result_and_at_the_end_of_the_output(project: Project, seconds, verdict) -> None:
    project.seconds = {"amp_bf16": seconds}
    asserting = AGAINST_EAGER.replace("    loop_benchmark", "    result = loop_benchmark")
    done = project.run(test=asserting + f"    assert result.verdict == {verdict!r}\n")

    done.assert_outcomes(**{"failed" if verdict == "slower" else "passed": 1})
    done.stdout.fnmatch_lines(
        [f"test_speed.py::test_step: * ms * a step, *x [[]*] of eager's; {verdict} against eager"]
    )


def test_one_launch_alone_gives_figures_and_no_verdict(project: Project) -> None:
    project.seconds, project.launches = {"amp_bf16": 0.030}, 1
    done = project.run(test=AGAINST_EAGER)

    done.assert_outcomes(passed=1, warnings=1)
    assert "which side" not in done.stdout.str()
    done.stdout.fnmatch_lines(["*; inconclusive against eager (one launch alone gives no interval: *"])


UNSEEN = (
    "inconclusive: amp_bf16 on resnet takes * ms a step, eager took * ms: that is 1.0*x [[]0.9*, 1.*], where 5.0 % "
    "more is allowed; give more seconds= or launches= to see which side it is"
)


def test_a_threshold_that_was_not_seen_is_a_warning_with_the_ratio_and_the_remedy(project: Project) -> None:
    project.seconds = {"amp_bf16": 0.0104}
    done = project.run(test=AGAINST_EAGER.replace("0.05", "0.05, false_alarms=0.0001"))

    done.assert_outcomes(passed=1, warnings=1)
    done.stdout.fnmatch_lines([f"*LoopmarkWarning: {UNSEEN}"])


@pytest.mark.parametrize("flag", ["--loopmark-inconclusive=fail", "--override-ini=loopmark_inconclusive=fail"])
def test_a_threshold_that_was_not_seen_is_a_failure_by_option_or_by_setting(project: Project, flag: str) -> None:
    project.seconds = {"amp_bf16": 0.0104}
    done = project.run(flag, test=AGAINST_EAGER.replace("0.05", "0.05, false_alarms=0.0001"))

    done.assert_outcomes(failed=1, warnings=0)
    done.stdout.fnmatch_lines([UNSEEN])


def test_another_setting_for_an_unseen_threshold_is_refused(project: Project) -> None:
    done = project.run("--override-ini=loopmark_inconclusive=maybe", test=AGAINST_EAGER)

    done.assert_outcomes(failed=1)
    assert "loopmark_inconclusive should be pass or fail, not 'maybe'" in done.outlines


def test_an_object_in_the_place_of_a_name_is_refused_with_a_name_to_give(project: Project) -> None:
    test = "def step():\n    pass\n\ndef test_step(loop_benchmark):\n    loop_benchmark({})\n"
    function, other = (project.run(test=test.format(given)) for given in ("'resnet', step", "object()"))
    said = "is an object ({}); loops run in their own processes: give a name, such as {!r}"

    assert f"loop {said.format('function', 'test_speed.py:step')}" in function.outlines
    assert f"workload {said.format('object', 'resnet')}" in other.outlines


def test_all_tests_of_a_session_share_one_table_of_phases(project: Project) -> None:
    test = ONE_TEST + "\ndef test_eager(loop_benchmark):\n    loop_benchmark('resnet')\n"
    done = project.run("-p", "no:benchmark", test=test)

    done.stdout.fnmatch_lines(
        ["phases of a step * data  zero_grad *", "test_speed.py::test_step * ms *", "test_speed.py::test_eager * ms *"]
    )
    assert done.stdout.str().count("zero_grad") == 1


def test_a_loop_that_lost_ground_to_eager_since_the_stored_run_fails_its_test_and_junit_sees_it(
    project: Project,
) -> None:
    stored(project)
    project.seconds = {"amp_bf16": 0.014}
    done = project.run("--benchmark-compare", "--junitxml=junit.xml")

    done.assert_outcomes(failed=1)
    assert len([*junit().iter("failure")]) == 1
    done.stdout.fnmatch_lines(
        ["regression: amp_bf16 on resnet takes 1.*x of eager's step, the run of 20* took *x: that is 1.*x [[]1.*], *"]
    )
    assert "test_step (NOW)" in done.stdout.str()


def test_a_slower_machine_is_no_regression_of_a_loop(project: Project) -> None:
    stored(project, lambda kept: kept.update(machine="another-0a1b2c"))
    project.seconds = {"eager": 0.030, "amp_bf16": 0.030}

    project.run("--benchmark-compare").assert_outcomes(passed=1)


def test_an_unchanged_loop_passes_and_says_what_it_was_held_against(project: Project) -> None:
    stored(project)
    done = project.run("--benchmark-compare")

    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["test_speed.py::test_step: *; same against the run of 20*"])


def test_eager_itself_is_held_against_its_seconds_on_the_same_machine(project: Project) -> None:
    project.pytester.makepyfile(test_speed=EAGER)
    stored(project)
    project.seconds = {"eager": 0.020}
    done = project.run("--benchmark-compare")

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["regression: eager on resnet takes * ms a step, the run of *, where 25 % more is allowed"]
    )


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"machine": "another-0a1b2c"}, "eager's seconds compare on the same machine only"),
        ({"threads": 7}, "the threads differ: 7 then, 2 now"),
        ({"batch_size": 32}, "another batch size: 32 then, 64 now"),
        ({"device": "cuda"}, "another device: cuda then, cpu now"),
        ({"format_version": 99}, "it has format 99"),
        ({"step_logs": "none"}, "extra_info.loopmark.step_logs should be a list, not 'none'"),
    ],
)
def test_what_is_not_the_same_work_is_not_compared_and_says_why(project: Project, changed, why) -> None:
    project.pytester.makepyfile(test_speed=EAGER)
    stored(project, lambda kept: kept.update(changed))
    project.seconds = {"eager": 0.050}
    done = project.run("--benchmark-compare")

    done.assert_outcomes(passed=1, warnings=1)
    done.stdout.fnmatch_lines([f"*test_step is not compared with the run of 20*: {why}*"])


def test_a_stored_run_of_another_tool_is_passed_over(project: Project) -> None:
    project.run("--benchmark-save=before", test="def test_step(benchmark):\n    benchmark(sum, [1, 2])\n")
    done = project.run("--benchmark-compare", test=ONE_TEST)

    done.assert_outcomes(passed=1)


def test_a_loop_that_fails_fails_its_test_in_one_line_and_has_no_row(project: Project) -> None:
    project.stop = Stop("own.py:3: ValueError: wrong from the start", skipped=False)
    done = project.run("--benchmark-json=rows.json")

    done.assert_outcomes(failed=1, warnings=0)
    assert "own.py:3: ValueError: wrong from the start" in done.outlines
    assert project.json("rows.json")["benchmarks"] == []


def test_a_loop_that_cannot_run_here_is_a_skip_with_its_reason(project: Project) -> None:
    project.stop = Stop("cuda_graph needs a CUDA device; this machine has none", skipped=True)
    done = project.run()

    done.assert_outcomes(skipped=1, warnings=0)
    done.stdout.fnmatch_lines(["SKIPPED*: cuda_graph needs a CUDA device; this machine has none"])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("'resnet', 'ampp'", "no loop named 'ampp'; "),
        ("'resnett'", "no workload named 'resnett'; "),
        ("'resnet', 'nowhere.py:step'", "no file nowhere.py for a loop; "),
        ("'resnet', 'eager', against='eager'", "against='eager' is the loop itself; "),
        ("'resnet', seconds=0", "seconds 0 makes no sense; "),
        ("'resnet', batch_size=-1", "batch_size -1 makes no sense; "),
        ("'resnet', launches=0", "launches 0 makes no sense; "),
        ("'resnet', size='huge'", "no size 'huge'; "),
        ("'resnet', threshold=-0.1", "threshold: a share is "),
        ("'resnet', false_alarms=0.9", "false_alarms should be "),
    ],
)
@pytest.mark.parametrize("flags", [(), ("--benchmark-disable",)], ids=["enabled", "disabled"])
def test_what_cannot_be_asked_for_fails_in_one_line(project: Project, call, said, flags) -> None:
    done = project.run(*flags, test=f"def test_step(loop_benchmark):\n    loop_benchmark({call})\n")

    done.assert_outcomes(failed=1, warnings=0)
    assert [line for line in done.outlines if line.startswith(said)]


def test_a_test_measures_one_loop(project: Project) -> None:
    done = project.run(test=ONE_TEST + "    loop_benchmark('resnet')\n")

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["loop_benchmark measures one loop per test, and test_step calls it again; *"])


@pytest.mark.parametrize("flag", ["--benchmark-disable", "--benchmark-enable"])
def test_a_disabled_benchmark_tries_the_loops_and_claims_nothing(project: Project, flag: str) -> None:
    project.seconds = {"amp_bf16": 0.050}
    asserting = AGAINST_EAGER.replace("    loop_benchmark", "    result = loop_benchmark")
    done = project.run("--benchmark-disable", flag, test=asserting + "    assert result.verdict is None\n")

    if flag == "--benchmark-disable":
        done.assert_outcomes(passed=1, warnings=0)
        assert project.tried == ["eager", "amp_bf16"]
        done.stdout.no_fnmatch_line("*resnet*")
    else:
        done.assert_outcomes(failed=1)
        assert project.tried == []


def test_skip_and_only_know_a_loop_benchmark_for_a_benchmark(project: Project) -> None:
    both = ONE_TEST + "\ndef test_plain():\n    pass\n"

    project.run("--benchmark-skip", test=both).assert_outcomes(skipped=1, passed=1)
    project.run("--benchmark-only", test=both).assert_outcomes(passed=1, skipped=1)
    assert project.run("--benchmark-only").stdout.str().count("benchmark 'resnet") == 2


def test_without_pytest_benchmark_it_measures_and_judges_all_the_same(project: Project) -> None:
    project.run("-p", "no:benchmark", test=AGAINST_EAGER).assert_outcomes(passed=1)
    project.seconds = {"amp_bf16": 0.014}
    done = project.run("-p", "no:benchmark", "--junitxml=junit.xml")

    done.assert_outcomes(failed=1)
    assert len([*junit().iter("failure")]) == 1
    done.stdout.fnmatch_lines(["test_speed.py::test_step: *; slower against eager"])


def test_a_session_without_a_loop_to_time_sees_nothing_of_the_plugin(project: Project) -> None:
    done = project.run(test="def test_plain():\n    pass\n")

    done.assert_outcomes(passed=1)
    done.stdout.no_fnmatch_line("*= loopmark =*")


OWN_BASELINE = """
def test_step(loop_benchmark):
    result = loop_benchmark("resnet", "amp_bf16", baseline="compile")
    assert result.baseline == "compile" and result.ratio is not None
"""


def test_another_baseline_is_named_by_the_test_or_by_the_option(project: Project) -> None:
    one, other = project.run(test=OWN_BASELINE), project.run("--loopmark-baseline=foreach_optimizer", test=ONE_TEST)

    one.assert_outcomes(passed=1)
    one.stdout.fnmatch_lines(["test_speed.py::test_step: *x [[]*] of compile's"])
    other.stdout.fnmatch_lines(["test_speed.py::test_step: *x [[]*] of foreach_optimizer's"])


def test_a_ratio_to_another_baseline_than_the_stored_one_is_not_compared(project: Project) -> None:
    stored(project)
    done = project.run("--benchmark-compare", "--loopmark-baseline=compile")

    done.stdout.fnmatch_lines(["*is not compared with the run of 20*: another baseline: eager then, compile now"])


def test_a_regression_of_the_ratio_names_the_baseline(project: Project) -> None:
    project.pytester.makepyfile(test_speed=OWN_BASELINE)
    stored(project)
    project.seconds = {"amp_bf16": 0.014}

    project.run("--benchmark-compare").stdout.fnmatch_lines(
        ["regression: amp_bf16 on resnet takes 1.*x of compile's *"]
    )
