from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.settings import Settings, Thresholds, load_settings, parse_flags, parse_share
from loopmark.phases import PHASES


@pytest.mark.parametrize(("text", "share"), [("0.05", 0.05), ("5%", 0.05), (" 5 % ", 0.05), ("0", 0.0), ("150%", 1.5)])
def test_a_share_is_written_as_a_number_or_in_per_cent(text: str, share: float) -> None:
    assert parse_share(text, "here") == pytest.approx(share)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is no share"), ("five", "is no share"), ("-1%", "0 or more"), ("nan", "0 or more"), ("inf%", "0 or more"),
        (float("nan"), "0 or more"), (-0.1, "0 or more"), (True, "is no share"), (None, "is no share"),
        ([0.05], "is no share"), (10**400, "a share is a number"),
        ("5", "write 5% if"), (5, "write 5% if"), ("1e9%", "lets everything pass"),
    ],
)  # fmt: skip
def test_what_is_no_share_is_refused_with_the_place_and_what_to_write(value: object, says: str) -> None:
    with pytest.raises(BadInput, match="here: ") as refusal:
        parse_share(value, "here")
    assert says in str(refusal.value)


def test_flags_name_a_metric_and_its_share_and_the_last_one_counts() -> None:
    shares = parse_flags(["forward=5%", "step/eager=0.02", "peak-memory = 1%", "forward=6%"])
    assert shares == pytest.approx({"forward": 0.06, "step / eager": 0.02, "peak memory": 0.01})


@pytest.mark.parametrize("flag", ["forward", "=5%", "", "forward:5%"])
def test_a_flag_without_a_metric_or_a_share_is_refused_with_an_example(flag: str) -> None:
    with pytest.raises(BadInput, match="such as forward=5%"):
        parse_flags([flag])


def test_each_metric_has_its_own_threshold_and_a_phase_without_one_the_steps() -> None:
    thresholds = Thresholds().changed({"step": 0.2, "step / eager": 0.03, "peak memory": 0.01, "forward": 0.04})
    named = [thresholds.of(name) for name in ("step", "step / eager", "peak memory", "forward", "backward")]
    assert named == [0.2, 0.03, 0.01, 0.04, 0.2]
    assert thresholds.phases == {"forward": 0.04}


def test_later_changes_keep_what_they_do_not_name() -> None:
    thresholds = Thresholds().changed({"forward": 0.04, "step": 0.2}).changed({"backward": 0.05})
    assert thresholds.phases == {"forward": 0.04, "backward": 0.05}
    assert thresholds.step == 0.2


def test_a_metric_that_no_run_has_is_refused_with_the_nearest_name() -> None:
    thresholds = Thresholds().changed({"forwrd": 0.05})
    with pytest.raises(BadInput, match=r"no metric named 'forwrd'.*did you mean 'forward'"):
        thresholds.refuse_unknown(())
    with pytest.raises(BadInput, match="there are step"):
        Thresholds().changed({"zzzz": 0.05}).refuse_unknown(())


def test_a_phase_of_a_persons_own_loop_may_have_a_threshold() -> None:
    thresholds = Thresholds().changed({"all_reduce": 0.05})
    thresholds.refuse_unknown(["forward", "all_reduce"])
    with pytest.raises(BadInput, match="all_reduce"):
        thresholds.refuse_unknown(["forward"])


def test_every_phase_may_have_a_threshold_whether_or_not_a_run_has_it() -> None:
    thresholds = Thresholds(phases=dict.fromkeys(["fwd", *PHASES], 0.05))
    with pytest.raises(BadInput, match="no metric named 'fwd'"):
        thresholds.refuse_unknown(())
    thresholds.refuse_unknown(["fwd"])  # the known phases are not refused


WHOLE = """
[tool.loopmark.check]
false-alarms = 0.001
inconclusive = "fail"

[tool.loopmark.check.thresholds]
step = 0.2
"step / eager" = "3%"
forward = 0.04
"""


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_the_nearest_pyproject_from_here_upward_says_how_a_check_decides(tmp_path: Path) -> None:
    project(tmp_path, WHOLE)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)

    assert load_settings(deep) == Settings(Thresholds(0.2, 0.03, phases={"forward": 0.04}), 0.001, "fail")


@pytest.mark.parametrize("text", ["", "[project]\nname = 'x'\n", "[tool.loopmark.plugin]\nx = 1\n"])
def test_a_pyproject_that_says_nothing_of_checks_leaves_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_settings(project(tmp_path, text)) == Settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("false_alarms = 0.1", "no key 'false_alarms'; did you mean 'false-alarms'?"),
        ("nonsense = 1", "there are false-alarms, inconclusive, thresholds"),
        ("false-alarms = 0", "false-alarms"),
        ("false-alarms = 0.9", "at most 50%"),
        ("false-alarms = nan", "0 or more"),
        ("inconclusive = 'maybe'", "should be 'pass' or 'fail'"),
        ("inconclusive = []", "should be 'pass' or 'fail'"),
        ("thresholds = 5", "should be a table"),
        ("thresholds.step = -1", "step in [tool.loopmark.check]"),
        ("thresholds.step = true", "is no share"),
        ("thresholds.step.x = 1", "is no share"),
        ("[", "cannot read"),
    ],
)
def test_a_mistake_in_it_is_one_line_that_names_the_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput) as refusal:
        load_settings(project(tmp_path, f"[tool.loopmark.check]\n{text}\n"))
    assert says in str(refusal.value)
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["tool = 1", "[tool]\nloopmark = 1", "[tool.loopmark]\ncheck = 1"])
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match="should be a table"):
        load_settings(project(tmp_path, text))


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="cannot read"):
        load_settings(tmp_path)


def test_a_threshold_of_the_ratio_may_name_any_baseline() -> None:
    shares = parse_flags(["step/own:step=2%"])
    assert Thresholds().changed(shares).of("step / amp_bf16") == 0.02
