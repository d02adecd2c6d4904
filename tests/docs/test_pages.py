"""README and documentation name only existing things."""

import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from loopmark.bench.cli import app
from tests.docs.pages import PAGES, ROOT, fences, text_of

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]*)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
COMMAND = re.compile(r"(?<![\w/])loopmark ([a-z-]+)((?:\\\n|[^\n`|])*)")
OPTION = re.compile(r"(?<!\S)(--[a-z][a-z-]*)")
OF_SCRIPT = re.compile(r"""(["'])cmd=.*?\1| -- .*""")  # a command of the reader's own, with options of its own


@cache
def options() -> dict[str, set[str]]:
    """Each command's options."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {
        name: {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        | {"--help"}
        for name, command in commands.items()
    }


def anchors(page: Path) -> set[str]:
    headings = HEADING.findall(text_of(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in LINK.findall(text_of(page)):
        target, _, anchor = link.partition("#")
        file = (ROOT / page.parent / target).resolve() if target else ROOT / page
        assert file.exists(), link
        if anchor:
            assert anchor in anchors(file.relative_to(ROOT)), link


@pytest.mark.parametrize("page", [*PAGES, Path(".github/workflows/bench.yml")], ids=str)
def test_every_command_and_option_exists(page: Path) -> None:
    for command, rest in COMMAND.findall(text_of(page)):
        if command not in options():
            assert not rest.lstrip().startswith("-"), f"loopmark {command}{rest}"
            continue
        unknown = {*OPTION.findall(OF_SCRIPT.sub("", rest))} - options()[command]
        assert not unknown, f"loopmark {command}{rest}"


def with_help(page: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The reference's page with each command's help as it is now."""
    monkeypatch.setenv("COLUMNS", "88")
    for name in options():
        shown = CliRunner().invoke(app, [name, "--help"], prog_name="loopmark").output.strip()
        page = re.sub(rf"(?<=\n## loopmark {name}\n\n```text\n).*?(?=\n```\n)", lambda _: shown, page, flags=re.DOTALL)  # noqa: B023
    return page


def test_every_command_has_its_help_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    if f"typer=={version('typer')}\n" not in (ROOT / "constraints.txt").read_text():
        pytest.skip("another version of typer lays help out in another way")
    file = ROOT / "docs" / "reference" / "commands.md"
    page = file.read_text()
    for command in options():
        assert f"\n## loopmark {command}\n" in page
        assert f"\n| `loopmark {command}` |" in page
    now = with_help(page, monkeypatch)
    if page != now:
        file.write_text(now)
        pytest.fail("docs/reference/commands.md had the help of another version; it is written anew: commit it")


def test_the_readme_fits_a_short_read() -> None:
    assert len(text_of(Path("README.md")).splitlines()) <= 170


def test_the_readmes_commands_are_those_that_ci_runs() -> None:
    lines = [
        line.partition("#")[0].strip()
        for kind, text in fences(Path("README.md"))
        if kind == "sh"
        for line in text.splitlines()
    ]
    assert lines
    assert {*lines} <= {*(ROOT / ".ci" / "run").read_text().splitlines()}


def test_each_command_and_option_has_whole_sentences_as_its_help() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        assert not command.get_short_help_str(65).endswith("..."), name
        assert command.epilog.count(f"\n  loopmark {name}") == 2, name
        assert {*OPTION.findall(OF_SCRIPT.sub("", command.epilog))} <= options()[name], name
        for parameter in command.params:
            assert (getattr(parameter, "help", None) or "Required.").rstrip().endswith("."), (name, parameter.name)
