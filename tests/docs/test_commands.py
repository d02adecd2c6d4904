"""Run every command in the documentation, page by page, in a repository like a reader's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, fences, write_file
from tests.support.command import ROOT, outside_pytest

TUTORIAL = Path("docs/tutorial.md")
SHOWN = [page for page in PAGES if page.parts[0] == "docs" and any(kind == "sh" for kind, _ in fences(page))]
VERDICTS = (0, 1, 3)  # of `ab` and `check`: no regression, a regression, inconclusive; a busy machine may give any
pytestmark = pytest.mark.docs


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=reader", "-c", "user.email=reader@example.org")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The tutorial's training repository, with one commit on ``main``."""
    for _, text in fences(TUTORIAL):
        write_file(text, tmp_path)
    git(tmp_path, "init", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message=Train digits")
    return tmp_path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", SHOWN, ids=str)
def test_its_commands_run_as_they_are_shown(page: Path, repository: Path) -> None:
    environment = outside_pytest() | {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "PYTHONPATH": str(ROOT),
        **{f"GIT_{who}_{what}": "reader@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    for kind, text in fences(page):
        if write_file(text, repository) or kind != "sh":
            continue
        for command in re.split(r"(?<!\\)\n", text.strip()):
            done = subprocess.run(
                ["bash", "-c", command], cwd=repository, env=environment, capture_output=True, text=True, check=False
            )
            allowed = VERDICTS if command.startswith(("loopmark ab ", "loopmark check ")) else (0,)
            assert done.returncode in allowed, f"{command}\n{done.stdout}\n{done.stderr}"
    listed = ["git", "status", "--short", "--untracked-files=all"]
    left = subprocess.run(listed, cwd=repository, capture_output=True, text=True, check=True)
    assert "run.json" not in left.stdout
