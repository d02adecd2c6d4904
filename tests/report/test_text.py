import re

import pytest

from bench.report.text import code_block, elide, markdown, plain, slugs
from tests.report.hostile import NAMES


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
