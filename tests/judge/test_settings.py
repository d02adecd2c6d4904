from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.settings import Settings, load_settings
from loopmark.bench.judge.thresholds import Thresholds

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
