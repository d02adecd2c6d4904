"""The text that describes a side, and the worktree of a revision."""

import subprocess
import sys
from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.measure import sides as module
from loopmark.bench.measure.sides import parse_side, resolve, side_threads, working_tree, worktree


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


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits of ``sub/a.txt``; the first is tagged ``old``. The current folder is ``sub``."""
    folder = tmp_path / "repository"
    (folder / "sub").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    for text in ("one", "two"):
        (folder / "sub" / "a.txt").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", text)
        if text == "one":
            git(folder, "tag", "old")
    monkeypatch.chdir(folder / "sub")
    return folder


def test_a_worktree_holds_the_revision_and_is_removed(repository: Path) -> None:
    commit = resolve("old", "--base")
    with worktree(commit) as made:
        assert (made.folder / "a.txt").read_text() == "one"
        assert made.folder.name == "sub"
        assert commit[:12] == git(repository, "rev-parse", "--short=12", "old")
        root = made.root
    assert not root.parent.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_worktree_is_removed_when_it_was_interrupted_and_its_files_changed(repository: Path) -> None:
    with pytest.raises(KeyboardInterrupt), worktree(resolve("old", "--base")) as made:
        (made.folder / "a.txt").write_text("changed")
        (made.root / "new.txt").write_text("new")
        raise KeyboardInterrupt
    assert not made.root.parent.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_worktree_is_removed_though_ctrl_c_came_once_more(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = module._git

    def interrupted(*arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
        if arguments[:2] == ("worktree", "remove"):
            raise KeyboardInterrupt
        return run(*arguments, folder=folder)

    monkeypatch.setattr(module, "_git", interrupted)
    with pytest.raises(KeyboardInterrupt), worktree(resolve("old", "--base")) as made:
        pass
    assert not made.root.parent.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_worktree_leaves_the_working_tree_as_it_lies(repository: Path) -> None:
    (repository / "sub" / "a.txt").write_text("mine")
    with worktree(resolve("old", "--base")):
        pass
    assert (repository / "sub" / "a.txt").read_text() == "mine"


@pytest.mark.parametrize("revision", ["nosuch", "--help", "old:sub/a.txt", "", "old..main"])
def test_an_unknown_revision_is_refused(repository: Path, revision: str) -> None:
    with pytest.raises(BadInput, match="no such revision"):
        resolve(revision, "--head")


def test_what_is_checked_out_is_refused_when_files_have_changes_that_it_lacks(repository: Path) -> None:
    (repository / "sub" / "a.txt").write_text("mine")
    for name in ("HEAD", "main"):
        with pytest.raises(BadInput, match=r"sub/a\.txt"):
            resolve(name, "--head")
    assert resolve("old", "--base")  # an older revision need not have the changes


def test_changes_are_no_matter_where_the_other_side_measures_the_files_as_they_lie(repository: Path) -> None:
    (repository / "sub" / "a.txt").write_text("mine")
    assert resolve("HEAD", "--base", clean=False) == git(repository, "rev-parse", "HEAD")


def test_git_that_takes_too_long_is_one_line(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIT_SECONDS", 1e-6)
    with pytest.raises(BadInput, match="took longer than"):
        resolve("HEAD", "--head")


def test_a_new_file_that_git_does_not_know_is_no_change(repository: Path) -> None:
    (repository / "notes.txt").write_text("x")
    assert resolve("HEAD", "--head") == git(repository, "rev-parse", "HEAD")


def test_outside_a_repository_there_are_no_revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="not in a git work tree"):
        resolve("main", "--base")
    assert working_tree().root == tmp_path


def test_the_working_tree_is_the_whole_repository_seen_from_here(repository: Path) -> None:
    assert working_tree().root == repository
    assert working_tree().folder == repository / "sub"
