import re

import pytest

from loopmark.bench.report.text import code_block, elide, markdown, plain, said_once, slugs, told_apart, without_folders
from tests.support.hostile import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_escaped_markdown_has_no_live_character(name: str) -> None:
    escaped = markdown(name)
    assert "\n" not in escaped
    assert not re.search(r"[<>]", escaped)
    assert not re.search(r"(?<!\\)[`*_\[\]|~$]", escaped.replace("\\\\", ""))
    assert not escaped.startswith("#")
    assert "://" not in escaped


@pytest.mark.parametrize("name", NAMES)
def test_plain_text_is_one_line_without_control_characters(name: str) -> None:
    assert all(c.isprintable() for c in plain(name))


def test_a_slug_stays_in_its_folder_and_no_two_are_alike() -> None:
    made = slugs([*NAMES, "A", "a", "a!"])
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch(r"[a-z0-9-]{1,44}", slug) for slug in made.values())


def test_a_code_block_holds_whatever_backticks_it_is_given() -> None:
    assert code_block("a ```` b") == "`````\na ```` b\n`````"


def test_a_long_text_is_elided_to_its_length() -> None:
    assert elide("abcdef", 4) == "abc…"
    assert elide("what was said goes on", 12) == "what was sa…"


def test_names_that_begin_alike_stay_apart_however_little_room_there_is() -> None:
    names = [f"amp_bf16+channels_last+compile_reduce_overhead+accumulate_{number}" for number in range(2, 16)]
    for length in (20, 30, 48):
        shown = [elide(name, length) for name in names]
        assert len(set(shown)) == len(names)
        assert {len(one) for one in shown} == {length}
    assert elide("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    "names",
    [
        ["fused_optimizer+compile+amp_bf16", "fused_optimizer+channels_last+amp_bf16", "fused_optimizer+amp_bf16"],
        ["experiments/transformer_v1.py:step+compile", "experiments/transformer_v2.py:step+compile"],
        ["x" * 300 + "a" + "y" * 300, "x" * 300 + "b" + "y" * 300, "short"],
        ["a" * 50, "a" * 51, "a" * 52],
    ],
)
def test_names_that_would_look_alike_are_told_apart_and_are_no_longer_for_it(names: list[str]) -> None:
    shown = told_apart(names, lambda name: elide(name, 20))
    assert len(set(shown.values())) == len(names)
    assert all(len(short) <= 20 for short in shown.values())
    assert list(shown) == names


def test_names_that_do_not_look_alike_stay_as_they_are() -> None:
    assert told_apart(["eager", "compile"], lambda name: elide(name, 20)) == {"eager": "eager", "compile": "compile"}


def test_what_tells_names_apart_is_what_is_kept_of_them() -> None:
    long = ["fused_optimizer+compile+amp_bf16+accumulate_2", "fused_optimizer+channels+amp_bf16+accumulate_2"]
    assert [*told_apart(long, lambda name: elide(name, 28)).values()] == ["fused_op…compile…", "fused_op…channels…"]


def test_names_of_several_groups_that_would_look_alike_are_all_told_apart() -> None:
    ends = "+channels_last+compile+accumulate_{}+foreach_optimizer"
    crossed = [f"amp_{kind}{ends.format(parts)}" for kind in ("bf16", "fp16") for parts in (2, 4)]
    odd = ["a" * 30 + "x" + "b" * 30, "a" * 30 + "y" + "b" * 30, "aaaaaaaa…x…", "a" * 61, "a" * 62]
    for names in (crossed, odd):
        shown = told_apart(names, lambda name: elide(name, 30))
        assert len(set(shown.values())) == len(names)
        assert all(len(short) <= 30 for short in shown.values())
    assert told_apart(crossed, lambda name: elide(name, 30))[crossed[1]] == "amp_bf16…4…"


def test_a_long_message_loses_its_paths_folders_before_its_point() -> None:
    text = "failed: /home/me/a/very/long/path/train/step.py:12: RuntimeError: the point"
    assert elide(text, 60) == "failed: …/train/step.py:12: RuntimeError: the point"
    assert elide(text, 200) == text


@pytest.mark.parametrize("text", ["step.py:12: an error", "train/step.py:12", "see https://a.org/b/c/d", "3/4 of a/b"])
def test_short_paths_and_addresses_stay(text: str) -> None:
    assert without_folders(text) == text


def test_a_text_that_several_have_is_said_once() -> None:
    told = said_once([("eager", "failed: why"), ("compile", "failed: why"), ("tf32", "skipped: no")])
    assert dict(told) == {"eager": "failed: why", "compile": "failed: as eager", "tf32": "skipped: no"}
