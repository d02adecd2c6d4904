"""Text from outside (names, reasons, warnings), made safe for the place where it is shown."""

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain, count, takewhile
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")
ELLIPSIS = "…"
HEAD = 0.6  # the share of a shortened name that comes before the ellipsis
SHORTEST_NAME = 12
NAME_LENGTH = 48  # of a name in a sentence
MOST_NAMED = 3  # names in one sentence; more are counted
LEAD = 8  # first letters of a name, kept before the part that differs from other names


def plain(text: str) -> str:
    """``text`` on one line, without the control and direction characters that could rewrite a terminal."""
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"})


_FOLDERS = re.compile(r"(?<![\w./:])[\w.~/-]*/(?=[^\s/:]+/[^\s/]+)")  # a path up to its last folder


def without_folders(text: str) -> str:
    """``text`` with its paths cut from the left: ``…/train/step.py:12``."""
    return _FOLDERS.sub(f"{ELLIPSIS}/", text)


def elide(text: str, length: int) -> str:
    """``text`` on one line of at most ``length`` characters.

    Its paths lose their folders. If that is not enough, a sentence loses its end and a name its middle.
    """
    line = plain(text)
    if len(line) > length:
        line = without_folders(line)
    if len(line) <= length:
        return line
    if " " in line or length < SHORTEST_NAME:
        return line[: length - 1].rstrip() + ELLIPSIS
    # Names of loops begin alike and end apart (amp_bf16+compile+accumulate_2, …_4).
    head = round(HEAD * (length - 1))
    return line[:head] + ELLIPSIS + line[len(line) - (length - 1 - head) :]


def short(name: str) -> str:
    """``name`` as a sentence has room for it."""
    return elide(name, NAME_LENGTH)


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def named(names: Sequence[str]) -> str:
    """``a, b and c``, or the first ones of many: ``a, b, c and 5 more``."""
    if len(names) <= MOST_NAMED + 1:  # counting one name takes as much room as printing it
        return listed(names)
    return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"


def told_apart(names: Iterable[str], shorten: Callable[[str], str]) -> dict[str, str]:
    """A unique short form of each name: by ``shorten``, else by the part that differs, else with a number."""
    shown = {name: shorten(name) for name in names}
    alike = grouped((short, name) for name, short in shown.items())
    taken = {short for short, group in alike.items() if len(group) == 1}
    for group in (group for group in alike.values() if len(group) > 1):
        head = _shared(group)
        tail = min(_shared([name[::-1] for name in group]), min(map(len, group)) - head)
        for name in group:
            end = ELLIPSIS if tail else ""
            differs = name[head : len(name) - tail] or name[-1:]
            short, number = shorten(f"{name[: min(head, LEAD)]}{ELLIPSIS}{differs}{end}"), 1
            while short in taken:
                short, number = shorten(f"{number}:{name}"), number + 1
            taken.add(short)
            shown[name] = short
    return shown


def said_once(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Each name with its text, such as ``failed: …``; a repeated text refers to the first name that has it."""
    first: dict[str, str] = {}
    for name, text in texts:
        status, colon, _ = text.partition(": ")
        known = first.setdefault(text, name)
        yield name, text if known == name or not colon else f"{status}: as {known}"


def _shared(names: Sequence[str]) -> int:
    """The length of the common beginning of ``names``, in whole words where there are words."""
    alike = sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False)))
    words = [end.end() for end in re.finditer(r"[-+/.:_ ]", names[0][:alike])]
    return words[-1] if words else alike


def markdown(text: str) -> str:
    """``text`` escaped for Markdown: one line, without HTML, links, emphasis, code or tables."""
    escaped = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", escaped)
    escaped = re.sub(r"^(\d+)(?=[.)])|^(?=[#+=-])", r"\1\\", escaped)  # a list or a heading, at the start of a line
    # A bare address or a mention would become a link; an entity prevents that and shows the same letters.
    return escaped.replace("://", ":&#47;&#47;").replace("@", "&#64;").replace("www.", "www&#46;")


def code_block(text: str) -> str:
    """``text`` as a fenced block; its fence is longer than any row of backticks in the text."""
    line = plain(text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence}\n{line}\n{fence}"


def grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    """The second items of ``pairs``, grouped by the first."""
    groups: dict[str, list[T]] = {}
    for text, one in pairs:
        groups.setdefault(text, []).append(one)
    return groups


def slugs(names: Iterable[str]) -> dict[str, str]:
    """A short, unique part of a file name for each name: lower-case letters, digits and hyphens."""
    bases = ((name, re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-") or "workload") for name in names)
    return numbered(bases, lambda base, number: f"{base}-{number}")


def numbered(named: Iterable[tuple[Key, str]], with_number: Callable[[str, int], str]) -> dict[Key, str]:
    """Each key's name, with a number from 2 on where an earlier key has the same name."""
    given: dict[Key, str] = {}
    taken: set[str] = set()
    for key, name in dict(named).items():
        candidates = chain([name], (with_number(name, number) for number in count(2)))
        given[key] = next(candidate for candidate in candidates if candidate not in taken)
        taken.add(given[key])
    return given
