"""The web pages of revisions, by the remote of the repository in which a command runs."""

import subprocess
from pathlib import Path

import pytest

from loopmark.bench.cli.repository import web_addresses


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one commit of a repository in which the test runs."""
    monkeypatch.chdir(tmp_path)
    for command in ("init -q", "-c user.name=a -c user.email=b commit -q --allow-empty -m x"):
        subprocess.run(["git", *command.split()], check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def address(commit: str, remote: str) -> str | None:
    subprocess.run(["git", "remote", "add", "origin", remote], check=True)
    return web_addresses([commit]).get(commit)


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://github.com/some/one.git", "https://github.com/some/one/commit/"),
        ("https://me:token@github.com/some/one", "https://github.com/some/one/commit/"),
        ("git@github.com:some/one.git", "https://github.com/some/one/commit/"),
        ("git@github.com:123/one.git", "https://github.com/123/one/commit/"),
        ("ssh://git@gitlab.com:22/some/group/one.git/", "https://gitlab.com/some/group/one/-/commit/"),
        ("git@bitbucket.org:some/one.git", "https://bitbucket.org/some/one/commits/"),
        ("https://codeberg.org/some/one", "https://codeberg.org/some/one/commit/"),
        ('https://github.com/some/"one', "https://github.com/some/%22one/commit/"),
    ],
)
def test_a_revision_has_a_page_where_the_remote_is_on_a_known_host(commit: str, remote: str, page: str) -> None:
    assert address(commit, remote) == f"{page}{commit}"


@pytest.mark.parametrize(
    "remote", ["/somewhere/one.git", "https://example.com/some/one", "javascript:alert(1)", "github.com"]
)
def test_no_other_remote_gives_an_address(commit: str, remote: str) -> None:
    assert address(commit, remote) is None


def test_only_commits_of_this_repository_have_a_page(commit: str) -> None:
    subprocess.run(["git", "remote", "add", "origin", "git@github.com:some/one.git"], check=True)
    others = ["", "HEAD", "abc1234", "javascript:alert(1)", "--help", f"{commit[:12]}\n{commit}"]
    assert [*web_addresses([*others, f"{commit[:12]}+changes"])] == [f"{commit[:12]}+changes"]


def test_outside_a_repository_there_are_no_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert web_addresses(["abc1234"]) == {}
