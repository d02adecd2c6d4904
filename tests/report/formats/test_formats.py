"""Every format on runs with a known truth and names chosen to break it, read as by its own tool."""

import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pytest_benchmark.stats import Stats

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.summary import summarise
from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import Samples
from loopmark.bench.report.formats import FORMATS, export, pytest_benchmark
from tests.support.hostile import NAMES
from tests.support.synthetic import PHASES, Truth, make_run

LOOPS = [
    Truth("eager", 0.010),
    Truth("eager", 0.010, repeat=True),
    Truth("amp_bf16", 0.005),
    Truth("tf32", status="skipped", reason="tf32 needs a CUDA device"),
]
JSON = [name for name in FORMATS if name != "openmetrics"]


def exported(name: str, run: Run, samples: Samples) -> Any:
    """The file's content; JSON is parsed strictly."""
    text = export(name, summarise(run, samples), samples)
    return text if name == "openmetrics" else json.loads(text, parse_constant=refuse)


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@pytest.fixture(scope="module")
def measured() -> tuple[Run, Samples]:
    return make_run(LOOPS, ("resnet", "gpt"), rounds=5)


def alone(run: Run, samples: Samples) -> tuple[Run, Samples]:
    """The run's first launch alone: the spread between launches is unknown, so there is no interval."""
    cases = tuple(replace(case, launches=case.launches[:1]) for case in run.cases)
    tables = {name: getattr(samples, name) for name in ("phases", "blocks", "warmup", "losses")}
    return replace(run, cases=cases), Samples(**{name: t[t["launch"] == 0] for name, t in tables.items()})


# All formats


def test_an_unknown_format_is_refused_with_what_was_meant() -> None:
    with pytest.raises(BadInput, match=r"no format named 'openmetric'; did you mean 'openmetrics'.*bencher"):
        export("openmetric", *[None, None])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_of_which_nothing_was_measured_is_refused(name: str) -> None:
    run, samples = make_run([Truth("eager", status="failed", reason="it broke")])

    with pytest.raises(BadInput, match=r"no case of 20260101-000000 was measured"):
        exported(name, run, samples)


@pytest.mark.parametrize("name", FORMATS)
def test_names_that_someone_chose_to_break_it_are_text_and_stay_apart(name: str) -> None:
    run, samples = make_run(
        [Truth(loop) for loop in ("eager", *NAMES)], ('x\n<b>"\\\udc80' * 500,), launches=2, rounds=2
    )
    phases = tuple(NAMES[: len(PHASES)])
    renamed = samples.phases["phase"].map(dict(zip(PHASES, phases, strict=True)))
    run = replace(run, cases=tuple(replace(case, phases=phases) for case in run.cases))
    text = export(name, summarise(run, samples), replace(samples, phases=samples.phases.assign(phase=renamed)))

    text.encode()  # no lone surrogate
    assert r"\udc80" not in text
    assert len(text) < 20_000_000
    if name != "openmetrics":
        content = json.loads(text, parse_constant=refuse)
        counted = {"bencher": len, "github-action-benchmark": lambda array: len({one["name"] for one in array}) // 2}
        if name in counted:
            assert counted[name](content) >= 1 + len(NAMES)


@pytest.mark.parametrize("name", FORMATS)
def test_one_launch_alone_has_figures_and_no_interval(name: str, measured: tuple[Run, Samples]) -> None:
    content = exported(name, *alone(*measured))
    text = content if name == "openmetrics" else json.dumps(content)

    assert "Infinity" not in text
    assert "lower_value" not in text
    assert "95 % [" not in text
    assert "loopmark_step_low" not in text
    assert "step_seconds_low" not in text.replace('step_seconds_low": null', "")


# pytest-benchmark


@pytest.mark.parametrize("count", range(1, 14))
def test_a_benchmarks_figures_are_what_pytest_benchmark_makes_of_its_rounds(count: int) -> None:
    data = [float(value) for value in np.random.default_rng(count).lognormal(size=count)]
    theirs = Stats()
    for value in data:
        theirs.update(value)
    ours = pytest_benchmark.stats(data)

    assert {key: ours[key] for key in theirs.as_dict()} == pytest.approx(theirs.as_dict())
    assert ours["outliers"] == theirs.outliers
    assert ours["data"] == data


def test_rounds_are_the_blocks_timed_as_a_whole_and_phases_have_rows_that_add_up(measured: tuple[Run, Samples]) -> None:
    run, samples = measured
    rows = {row["name"]: row for row in exported("pytest-benchmark", run, samples)["benchmarks"]}
    whole = rows["resnet[amp_bf16]"]
    blocks = samples.blocks[(samples.blocks["case"] == 2) & ~samples.blocks["lapped"]]

    assert whole["group"] == "resnet"
    assert sorted(whole["stats"]["data"]) == pytest.approx(sorted(blocks["host_seconds"] / blocks["steps"]))
    assert whole["extra_info"]["loopmark"]["rounds_per_launch"] == [10] * 5
    assert whole["extra_info"]["loopmark"]["verdict"] == "faster"
    assert whole["extra_info"]["loopmark"]["speedup_low"] < 2 < whole["extra_info"]["loopmark"]["speedup_high"]
    parts = [rows[f"resnet[amp_bf16-{phase}]"]["stats"]["mean"] for phase in PHASES]
    lapped = samples.blocks[(samples.blocks["case"] == 2) & samples.blocks["lapped"]]
    assert sum(parts) == pytest.approx((lapped["host_seconds"] / lapped["steps"]).mean())
    assert "resnet[tf32]" not in rows


def test_a_step_that_found_the_device_idle_is_in_no_phase() -> None:
    run, samples = make_run(LOOPS, rounds=3, device=True)
    first = samples.phases["step"] == samples.phases.groupby(["case", "launch", "round", "block"])["step"].transform(
        "min"
    )
    samples.phases.loc[first, "device_seconds"] *= 3
    rows = {row["name"]: row for row in exported("pytest-benchmark", run, samples)["benchmarks"]}

    assert rows["resnet[eager-forward]"]["stats"]["median"] == pytest.approx(0.003, rel=0.2)


def test_a_large_run_keeps_its_figures_and_leaves_the_rounds_out(measured, monkeypatch) -> None:
    whole = exported("pytest-benchmark", *measured)["benchmarks"]
    monkeypatch.setattr(pytest_benchmark, "MOST_ROUNDS", 10)
    bounded = exported("pytest-benchmark", *measured)["benchmarks"]

    assert all("data" in row["stats"] for row in whole)
    assert all("data" not in row["stats"] for row in bounded)
    assert [row["stats"]["median"] for row in bounded] == [row["stats"]["median"] for row in whole]


# github-action-benchmark


@pytest.mark.parametrize("name", ["github-action-benchmark", "github-action-benchmark-bigger"])
def test_an_array_of_results_as_the_action_takes_them(name: str, measured: tuple[Run, Samples]) -> None:
    results = exported(name, *measured)

    assert results
    assert len({result["name"] for result in results}) == len(results)
    for result in results:
        assert set(result) <= {"name", "value", "unit", "range", "extra"}
        assert type(result["value"]) is float
        assert all(isinstance(result[key], str) for key in set(result) - {"value"})


def as_the_action_extracts(text: str) -> list[dict[str, Any]]:
    """The entries that the action reads from a custom tool's file (its src/extract.ts): five keys each; never empty."""
    entries = json.loads(text, parse_constant=refuse)  # JSON.parse takes neither NaN nor Infinity
    assert isinstance(entries, list)
    assert entries, "it throws: no benchmark result was found"
    return [{key: entry.get(key) for key in ("name", "value", "unit", "range", "extra")} for entry in entries]


@pytest.mark.parametrize("name", ["github-action-benchmark", "github-action-benchmark-bigger"])
def test_the_actions_extractor_leaves_nothing_of_it_behind(name: str, measured: tuple[Run, Samples]) -> None:
    run, samples = measured
    text = export(name, summarise(run, samples), samples)
    extracted = as_the_action_extracts(text)

    assert [{key: v for key, v in entry.items() if v is not None} for entry in extracted] == json.loads(text)
    for entry in extracted:
        # The action scales a value into the previous run's unit if both units are known, and reads "±" in a range as a
        # width to scale too. Our values must stay as they are: units are fixed, and a range is text.
        assert entry["unit"] in {"ms", "MiB", "1/s", "x"}
        assert not re.search(r"(\+-|±)\s*\d", entry["range"] or "")


def test_smaller_is_better_for_milliseconds_and_bigger_for_a_speedup(measured: tuple[Run, Samples]) -> None:
    smaller, bigger = (
        {result["name"]: result for result in exported(name, *measured)}
        for name in ("github-action-benchmark", "github-action-benchmark-bigger")
    )
    step, speedup = smaller["resnet/amp_bf16: step"], bigger["resnet/amp_bf16: speedup over eager"]

    assert step["unit"] == "ms"
    assert step["value"] == pytest.approx(5, rel=0.3)
    assert smaller["resnet/eager: peak memory"]["value"] == 500
    assert speedup["value"] == pytest.approx(2, rel=0.1)
    assert speedup["range"].startswith("95 % [1.9") or speedup["range"].startswith("95 % [2")
    assert "verdict: faster" in speedup["extra"]
    assert "noise floor: " in speedup["extra"]
    assert "resnet/eager: speedup over eager" not in bigger


# Bencher


def test_bencher_gets_nanoseconds_and_operations_a_second_with_the_ends_of_their_intervals(measured) -> None:
    results = exported("bencher", *measured)
    case = results["gpt/amp_bf16"]

    assert case["latency"]["value"] == pytest.approx(5e6, rel=0.3)
    assert case["throughput"]["value"] == pytest.approx(1e9 / case["latency"]["value"])
    for metrics in results.values():
        for metric in metrics.values():
            assert set(metric) in ({"value"}, {"value", "lower_value", "upper_value"})
            assert metric.get("lower_value", -math.inf) <= metric["value"] <= metric.get("upper_value", math.inf)
    assert results["resnet"]["noise-floor"]["value"] == pytest.approx(1, abs=2)
    assert "latency" in results["resnet/eager (again)"]


def is_bencher_metric_format(content: Any) -> bool:
    """True if ``content`` satisfies https://bencher.dev/bmf.json, draft 7: objects within objects of numbers."""

    def number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    def metric(value: Any) -> bool:
        known = ("value", "lower_value", "upper_value")
        return isinstance(value, dict) and "value" in value and all(number(value[key]) for key in known if key in value)

    return isinstance(content, dict) and all(
        isinstance(measures, dict) and all(map(metric, measures.values())) for measures in content.values()
    )


def test_bencher_gets_what_its_schema_and_its_lengths_of_names_demand(measured: tuple[Run, Samples]) -> None:
    for run, samples in (measured, alone(*measured)):
        content = exported("bencher", run, samples)
        assert is_bencher_metric_format(content)
        for benchmark, measures in content.items():
            assert 0 < len(benchmark) <= 1024
            assert all(re.fullmatch(r"[a-z0-9-]{1,64}", measure) for measure in measures)  # a slug, never a UUID
            assert not benchmark.endswith("-bencher-ignore")  # it would be removed, with its alerts
    assert not is_bencher_metric_format({"a": {"latency": {"lower_value": 1.0}}})
    assert not is_bencher_metric_format({"a": {"latency": {"value": "1"}}})


@pytest.mark.parametrize("letter", ["a", "\N{GRINNING FACE}"])
def test_a_name_never_exceeds_what_bencher_takes(letter: str) -> None:
    results = exported("bencher", *make_run([Truth("eager"), Truth(letter * 10_000)], (letter * 10_000,), launches=2))

    assert all(0 < len(name.encode()) <= 1024 for name in results)


# OpenMetrics


def test_openmetrics_has_its_metadata_in_order_and_ends(measured: tuple[Run, Samples]) -> None:
    lines = exported("openmetrics", *measured).splitlines()

    assert lines[-1] == "# EOF"
    assert lines.count("# EOF") == 1
    place = lines.index("# TYPE loopmark_step_seconds gauge")
    assert lines[place + 1] == "# UNIT loopmark_step_seconds seconds"
    assert lines[place + 2].startswith("# HELP loopmark_step_seconds ")
    assert lines[place + 3].startswith('loopmark_step_seconds{workload="resnet",loop="eager"} 0.0')


def openmetrics_families(text: str) -> dict[str, Any]:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="prometheus_client is a dev extra")
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def test_prometheus_own_parser_reads_it(measured: tuple[Run, Samples]) -> None:
    run, samples = measured
    families = openmetrics_families(exported("openmetrics", run, samples))
    steps = {tuple(s.labels.values()): s.value for s in families["loopmark_step_seconds"].samples}
    row = summarise(run, samples).rows[2]

    assert row.step_seconds is not None
    assert steps["resnet", "amp_bf16"] == row.step_seconds.value
    assert families["loopmark_step_seconds"].unit == "seconds"
    verdicts = {s.labels["loop"]: s.labels["verdict"] for s in families["loopmark_case"].samples}
    assert verdicts == {"eager": "baseline", "eager (again)": "noise check", "amp_bf16": "faster"}
    phases = [s for s in families["loopmark_phase_seconds"].samples if s.labels["workload"] == "resnet"]
    assert {s.labels["phase"] for s in phases} == set(PHASES)
    assert families["loopmark_run_start_timestamp_seconds"].samples[0].value == 1767225600


def test_prometheus_own_parser_reads_hostile_names_as_what_they_are() -> None:
    run, samples = make_run([Truth("eager"), *(Truth(name) for name in NAMES), Truth('q"\\n\\')], launches=2, rounds=2)
    families = openmetrics_families(exported("openmetrics", run, samples))
    loops = {sample.labels["loop"] for sample in families["loopmark_step_seconds"].samples}

    assert {
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "🎉 émoji 漢字",
        'q"\\n\\',
        "unnamed",
        "unnamed (2)",
    } <= loops
    assert len(loops) == 2 + len(NAMES)


def test_a_figure_that_no_json_has_is_left_out() -> None:
    run, samples = make_run([Truth("eager"), Truth("compile", 0.005)], launches=2, rounds=2)
    tiny = samples.blocks["host_seconds"].mask(samples.blocks["case"] == 1, 5e-324)
    samples = replace(samples, blocks=samples.blocks.assign(host_seconds=tiny))

    with np.errstate(all="ignore"):  # the judge takes the logarithm of zero seconds as it is
        for name in JSON:
            assert exported(name, run, samples)
        assert "inf" not in exported("openmetrics", run, samples).lower().replace("info", "")


def test_the_frames_are_left_as_they_were(measured: tuple[Run, Samples]) -> None:
    run, samples = measured
    before = samples.blocks.copy()
    for name in FORMATS:
        exported(name, run, samples)

    pd.testing.assert_frame_equal(samples.blocks, before)
