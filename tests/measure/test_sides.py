"""The text that describes a side."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.plan import PlanOptions, make_plan
from loopmark.bench.measure.side_server import SideServer
from loopmark.bench.measure.sides import (
    PreparedComparison,
    SideOptions,
    _words,
    parse_side,
    refuse_commands,
    side_threads,
)


@pytest.mark.parametrize(
    "options", [["rev=main", "loop=eager"], ["rev=main,loop=eager"], ["rev=main loop=eager"], ["loop=eager, rev=main"]]
)
def test_keys_combine_however_they_are_given(options: list[str]) -> None:
    side = parse_side(options, "--base")
    assert (side.revision, side.loop) == ("main", "eager")


def test_a_value_may_hold_commas_and_spaces_and_equals_signs() -> None:
    side = parse_side(["env=GOMP_CPU_AFFINITY=0,1 2,env=A=b=c", "loop=own file.py:step"], "--head")
    assert side.variables == {"GOMP_CPU_AFFINITY": "0,1 2", "A": "b=c"}
    assert side.loop == "own file.py:step"


def test_a_side_that_says_nothing_is_as_the_other() -> None:
    assert parse_side([], "--base").given == {}


def test_an_interpreter_is_found_by_name_and_not_resolved() -> None:
    side = parse_side([f"python={sys.executable}"], "--base")
    assert side.python == Path(sys.executable)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("lop=eager", "did you mean loop"),
        ("eager", "is not key=value"),
        ("loop=", "has no value"),
        ("loop=a,loop=b", "gives loop twice"),
        ("env=A=1,env=A=2", "gives env=A twice"),
        ("env=A", "env=NAME=value"),
        ("env=1A=2", "env=NAME=value"),
        ("cmd=python 'train.py", "No closing quotation"),
        ("cmd=python train.py,loop=eager", "gives cmd= and loop="),
        ("cmd=bash train.sh,python=python", "python= needs a command that begins with python"),
        ("python=/no/such/python", "no such interpreter"),
        ("python=/", "no such interpreter"),
        ("", "is not key=value"),
    ],
)
def test_a_mistake_in_a_side_is_one_line_that_names_it(option: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        parse_side([option], "--head")
    assert str(caught.value).startswith("--head")


@pytest.mark.parametrize("count", ["0", "3", "two", "-1", ""])
def test_threads_that_do_not_fit_the_machine_are_refused(count: str) -> None:
    with pytest.raises(BadInput, match="OMP_NUM_THREADS"):
        side_threads(parse_side([f"env=OMP_NUM_THREADS={count}"], "--base"), "--base", 2, 2)


def test_a_side_runs_the_threads_that_its_own_variable_says() -> None:
    assert side_threads(parse_side(["env=OMP_NUM_THREADS=1"], "--base"), "--base", 2, 2) == 1
    assert side_threads(parse_side([], "--base"), "--base", 2, 2) == 2


@pytest.mark.parametrize("fixed", [True, False])
def test_sides_that_cannot_have_an_equal_memory_layout_are_told_of_it(fixed: bool) -> None:
    server = object.__new__(SideServer)
    server.has_fixed_layout = fixed
    side: Any = SimpleNamespace(launcher=server)
    plan = make_plan(PlanOptions(["loopmark", "ab"], device="cpu", threads=1))
    warnings = PreparedComparison(side, side, shared_server=False).measurement(plan).warnings
    assert ["fixed memory layout" in warning for warning in warnings] == ([] if fixed else [True])


def test_a_command_has_spaces_and_commas_of_its_own() -> None:
    side = parse_side(["cmd=python train.py --widths 1,2 'env=x y',env=A=1"], "--base")
    assert side.command == "python train.py --widths 1,2 'env=x y'"
    assert side.variables == {"A": "1"}
    assert _words(side.command, None, "--base") == ("python", "train.py", "--widths", "1,2", "env=x y")


@pytest.mark.parametrize("first", ["python", "python3", "python3.12", "/usr/bin/python3"])
def test_another_interpreter_takes_the_place_of_a_commands_own(first: str) -> None:
    assert _words(f"{first} -m train", Path("/own/python"), "--head") == ("/own/python", "-m", "train")


def test_a_command_needs_one_on_the_other_side_and_no_option_of_loops() -> None:
    none, script = SideOptions(), SideOptions(command="python train.py")
    refuse_commands(none, none, {"--size": "small"})
    refuse_commands(script, script, {"--size": None})
    with pytest.raises(BadInput, match="--head has no cmd="):
        refuse_commands(script, none, {})
    with pytest.raises(BadInput, match="--size is for loops"):
        refuse_commands(script, script, {"--size": "small"})
