"""The revision of the repository in which a command runs."""

import subprocess
from pathlib import Path

import pytest

from loopmark.bench.measure.machine import describe_environment
from tests.support.command import ROOT


def described() -> str | None:
    return describe_environment(1, ()).repository


def git(*arguments: str) -> str:
    own = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", *own, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_a_run_records_the_commit_of_the_repository_that_it_runs_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert described() is None
    git("init", "--quiet")
    assert described() is None
    Path("train.py").write_text("a = 1\n")
    git("add", "train.py")
    git("commit", "--quiet", "-m", "one")
    head = git("rev-parse", "--short=12", "HEAD")
    assert described() == head
    Path("train.py").write_text("a = 2\n")
    assert described() == f"{head}+changes"


def test_loopmarks_own_repository_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert described() is None
