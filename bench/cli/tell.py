"""What a comparison tells, and whom: a person, a program, and the CI that it runs in."""

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from loopmark.bench.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from loopmark.bench.judge.finding import Judgement

SUMMARY = "GITHUB_STEP_SUMMARY"
"""GitHub's variable with the file whose Markdown a job shows."""


class Inconclusive(StrEnum):
    """What an inconclusive comparison counts as."""

    PASS = "pass"
    FAIL = "fail"


InconclusiveOption = Annotated[
    Inconclusive | None, typer.Option("--inconclusive", help="What an inconclusive comparison counts as.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the judgement as JSON, and only that.")]
JunitOption = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML: a case for each finding.")
]
MarkdownOption = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE", help="Write the findings as Markdown.")
]


def refuse_unwritable_folder(out: Path) -> None:
    """Raise BadInput for a folder of results that could not be made or written to in the end."""
    there = next((folder for folder in (out, *out.parents) if folder.exists()), Path())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise BadInput(f"cannot write to {out}: {there} is no folder that you may write to; choose another --out")


def refuse_unwritable(*paths: Path | None) -> None:
    """Raise BadInput for a file that could not be written in the end; to be called before anything is measured."""
    given = [path for path in paths if path is not None]
    if not given:
        return
    from loopmark.bench.records.store import is_of_a_run

    for path in given:
        try:
            path.lstat()
            if path.exists() and not path.is_file():  # a link is what it leads to: /dev/stdout is no file
                raise BadInput(f"{path} is in the way: it is no file; choose another")
            if is_of_a_run(path):
                raise BadInput(f"{path} is a file of a run's own; choose another")
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise _unwritable(path, error) from None
        try:
            # A file without a name: whatever happens next, nothing is left behind.
            with tempfile.TemporaryFile(dir=path.parent):
                path.with_name(f"{path.name}.partial").is_file()  # it raises where that name is too long
        except (OSError, ValueError) as error:
            raise _unwritable(path, error) from None
    if len({os.path.abspath(path) for path in given}) < len(given):  # noqa: PTH100 - links are not followed
        raise BadInput(f"{given[0]} cannot hold two things; give each its own file")


def tell(
    judgement: "Judgement", *, as_json: bool, junit: Path | None, markdown: Path | None, console: "Console"
) -> None:
    """Write the files that were asked for, tell the CI, and print the judgement: as JSON alone, or as a table.

    A refusal is one line on ``console`` and no table. Raises BadInput for a file that cannot be written.
    """
    from loopmark.bench.report.claim import conclusion
    from loopmark.bench.report.judgement import annotations, as_junit, as_markdown, print_judgement
    from loopmark.bench.report.judgement import as_json as to_json

    # All is made before anything is written, so that nothing is left half told.
    page = as_markdown(judgement).encode()
    files = [(path, content) for path, content in ((junit, as_junit(judgement)), (markdown, page)) if path is not None]
    # GitHub takes ##[ for a command wherever it stands.
    text = json.dumps(to_json(judgement), indent=2, allow_nan=False).replace("##[", r"##\u005b")
    for path, content in files:
        write_file(path, content)
    _add_to_summary(page, console)
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    if as_json:
        print(text)
    elif judgement.refusal is not None:
        with _no_commands(on_github, sys.stderr):
            console.print(f"loopmark: {conclusion(judgement)}", markup=False, highlight=False, soft_wrap=True)
    else:
        with _no_commands(on_github, sys.stdout):
            print_judgement(judgement)
    if on_github:
        print("\n".join(annotations(judgement)), file=sys.stderr if as_json else sys.stdout, flush=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file that was asked for, in one move. Raises BadInput where it cannot be written."""
    from loopmark.bench.records.files import replace_file

    try:
        replace_file(path, content)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


def _add_to_summary(page: bytes, console: "Console") -> None:
    """Add ``page`` to the job's summary, which other steps write to as well."""
    file = os.environ.get(SUMMARY)
    if not file:
        return
    try:
        with Path(file).open("ab", buffering=0) as summary:
            summary.write(page)
    except (OSError, ValueError) as error:
        # It is the CI's file and not asked for by anyone: the verdict counts without it.
        console.print(f"warning: {_unwritable(Path(SUMMARY), error)}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _no_commands(on_github: bool, stream: TextIO) -> Iterator[None]:
    """Keep GitHub from taking what is printed for commands: a loop may be named ``::error::``."""
    if not on_github:
        yield
        return
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}", file=stream, flush=True)
    try:
        yield
    finally:
        print(f"::{token}::", file=stream, flush=True)


def _unwritable(path: Path, error: Exception) -> BadInput:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return BadInput(f"cannot write {path}: {reason}; choose another file")
