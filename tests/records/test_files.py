import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pytest

from loopmark.bench.records.files import Mismatch, decode
from loopmark.bench.records.run import Run
from tests.support.synthetic import Truth, make_run


@dataclass(frozen=True)
class Inner:
    name: str
    size: int = 7


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...]
    seconds: float
    scale: float | None
    flag: bool
    kind: Literal["cold", "warm"]
    words: dict[str, str]


OUTER = Outer(Inner("a", 1), (Inner("b"), Inner("c", 3)), 0.1, None, True, "warm", {"OMP_NUM_THREADS": "2"})


def damaged(**changes: Any) -> dict[str, Any]:
    return {**asdict(OUTER), **changes}


def test_a_record_survives_the_way_through_json() -> None:
    assert decode(Outer, json.loads(json.dumps(asdict(OUTER)))) == OUTER


@pytest.mark.parametrize("gpu", [False, True])
def test_a_whole_run_survives_the_way_through_json(gpu: bool) -> None:
    truths = [Truth("eager"), Truth("eager", repeat=True), Truth("tf32", status="skipped", reason="no GPU")]
    run, _ = make_run(truths, ("resnet", "gpt"), device=gpu, rounds=2)
    run = replace(run, warnings=("»Größe« 温度\n",), interrupted=True)
    back = decode(Run, json.loads(json.dumps(asdict(run))))
    assert back == run
    assert isinstance(back.cases, tuple)
    assert isinstance(back.machine.gpus, tuple)


def test_floats_keep_every_digit() -> None:
    third = replace(OUTER, seconds=1 / 3, scale=5e-324)
    assert decode(Outer, json.loads(json.dumps(asdict(third)))) == third


def test_an_unknown_key_is_passed_over_at_any_depth() -> None:
    value = damaged(since="a later version", inner={"name": "a", "size": 1, "colour": "red"})
    assert decode(Outer, value) == OUTER


def test_a_missing_key_takes_its_default() -> None:
    assert decode(Outer, damaged(inner={"name": "a"})).inner == Inner("a", 7)


def test_a_missing_key_without_a_default_is_named_with_its_place() -> None:
    with pytest.raises(Mismatch, match=r"^run\.many\[1\]\.name is missing$"):
        decode(Outer, damaged(many=[{"name": "b"}, {"size": 3}]))


def test_an_integer_will_do_for_a_float_and_becomes_one() -> None:
    found = decode(Outer, damaged(seconds=2, scale=3))
    assert (found.seconds, found.scale) == (2.0, 3.0)
    assert type(found.seconds) is type(found.scale) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner": None}, "run.inner should be an object, not None"),
        ({"inner": ["a", 1]}, "run.inner should be an object, not ['a', 1]"),
        ({"inner": {"name": 3}}, "run.inner.name should be a str, not 3"),
        ({"inner": {"name": None}}, "run.inner.name should be a str, not None"),
        ({"inner": {"name": "a", "size": True}}, "run.inner.size should be a int, not True"),
        ({"inner": {"name": "a", "size": 1.0}}, "run.inner.size should be a int, not 1.0"),
        ({"many": {"0": "b"}}, "run.many should be a list, not {'0': 'b'}"),
        ({"many": "bc"}, "run.many should be a list, not 'bc'"),
        ({"many": [{"name": "b"}, 5]}, "run.many[1] should be an object, not 5"),
        ({"seconds": "0.1"}, "run.seconds should be a finite number, not '0.1'"),
        ({"seconds": True}, "run.seconds should be a finite number, not True"),
        ({"seconds": None}, "run.seconds should be a finite number, not None"),
        ({"scale": "big"}, "run.scale should be a finite number, not 'big'"),
        ({"flag": 1}, "run.flag should be a bool, not 1"),
        ({"kind": "hot"}, "run.kind should be one of 'cold', 'warm', not 'hot'"),
        ({"kind": ["cold"]}, "run.kind should be one of 'cold', 'warm', not ['cold']"),
        ({"words": ["x"]}, "run.words should be an object, not ['x']"),
        ({"words": {"A": 2}}, "run.words.A should be a str, not 2"),
    ],
)
def test_a_wrong_type_is_named_with_its_place_and_its_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Mismatch) as caught:
        decode(Outer, damaged(**changes))
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_a_number_that_no_clock_shows_is_refused(text: str) -> None:
    with pytest.raises(Mismatch, match=r"run\.seconds should be a finite number"):
        decode(Outer, damaged(seconds=json.loads(text)))


@dataclass(frozen=True)
class Timed:
    setup_seconds: float | None
    first_steps_seconds: tuple[float, ...]
    excess_seconds: float
    loss: float


TIMED: dict[str, Any] = {
    "setup_seconds": None,
    "first_steps_seconds": [0.0, 1e9],
    "excess_seconds": -0.5,
    "loss": -1e300,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"setup_seconds": -1e-9}, "run.setup_seconds should be between 0 and 1e+09, not -1e-09"),
        (
            {"first_steps_seconds": [1, 2e9]},
            "run.first_steps_seconds[1] should be between 0 and 1e+09, not 2000000000.0",
        ),
        ({"excess_seconds": -1e308}, "run.excess_seconds should be between -1e+09 and 1e+09, not -1e+308"),
    ],
)
def test_a_time_that_nothing_takes_is_refused_and_one_beyond_another_may_be_below_zero(
    changes: dict[str, Any], message: str
) -> None:
    assert decode(Timed, TIMED).excess_seconds == -0.5
    with pytest.raises(Mismatch) as caught:
        decode(Timed, {**TIMED, **changes})
    assert str(caught.value) == message


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(Mismatch) as caught:
        decode(Outer, damaged(inner="x" * 10_000))
    assert len(str(caught.value)) < 120
    assert str(caught.value).endswith("…")


def test_the_top_level_must_be_an_object() -> None:
    with pytest.raises(Mismatch, match=r"^run should be an object, not \[\]$"):
        decode(Outer, [])
