"""The commit of a revision, its worktree, and the files that it lacks."""

import subprocess
from pathlib import Path

import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.measure import revisions as module
from loopmark.bench.measure.revisions import missing_here, refuse_absent, resolve, working_tree, worktree


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


def test_a_worktree_made_in_a_hook_of_git_leaves_the_users_index_alone(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / ".git" / "index"))
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    with worktree(resolve("old", "--base")) as made:
        assert (made.folder / "a.txt").read_text() == "one"
    assert git(repository, "status", "--porcelain") == ""


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


@pytest.fixture
def own_code(repository: Path) -> Path:
    """Files of a user: committed since ``old``, never committed, and ignored by git."""
    for name in ("sub/mine.py", "src/pkg/task.py", "sub/new.py", "sub/kept_out.py", "data/x.bin"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).touch()
    (repository / ".gitignore").write_text("kept_out.py\ndata/\n")
    git(repository, "add", "sub/mine.py", "src/pkg/task.py", ".gitignore")
    git(repository, "commit", "--quiet", "-m", "three")
    return repository


def refused(workload: str, loop: str = "eager", revision: str = "main") -> str:
    """The refusal of a side, or an empty text."""
    try:
        refuse_absent(workload, loop, revision, resolve(revision, "--base"), "--base")
    except BadInput as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize("workload", ["resnet", "hf:bert"])
def test_a_repository_of_neither_workload_nor_loop_is_refused(own_code: Path, workload: str) -> None:
    assert refused(workload).startswith(f"--base rev=main: neither {workload} nor eager comes from this repository, ")
    assert refused(workload, "mine.py:step+compile") == ""


@pytest.mark.parametrize(
    ("provided", "workload"), [("loops/catalog.py", "resnet"), ("src/transformers/__init__.py", "hf:bert")]
)
def test_a_repository_that_is_loopmark_or_a_models_package_is_compared(
    repository: Path, provided: str, workload: str
) -> None:
    (repository / provided).parent.mkdir(parents=True)
    (repository / provided).touch()
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "three")
    assert refused(workload) == ""
    assert "neither" in refused(workload, revision="old")


@pytest.mark.parametrize(
    "spec", ["mine.py:make_task", "../sub/mine.py:make_task", "pkg.task:make_task", "torch.nn:Linear"]
)
def test_a_file_or_a_module_of_the_revision_is_no_matter_nor_is_an_installed_one(own_code: Path, spec: str) -> None:
    assert refused(spec) == ""


@pytest.mark.parametrize(
    ("spec", "revision", "said"),
    [
        ("mine.py:make_task", "old", "has no sub/mine.py; give a revision that has it, or copy it out of"),
        ("pkg.task:make_task", "old", "has no src/pkg/task.py; give a revision that has it, or copy it out of"),
        ("new.py:make_task", "main", "has no sub/new.py; sub/new.py is not committed; commit it, or"),
        ("kept_out:make_task", "main", "; git ignores sub/kept_out.py, so no revision has it; commit it, or"),
        ("nowhere.py:make_task", "main", "has no file nowhere.py; give path/to/file.py:name, relative to"),
    ],
)
def test_a_file_that_the_revision_lacks_is_named_with_the_reason(
    own_code: Path, spec: str, revision: str, said: str
) -> None:
    assert said in refused(spec, "eager", revision)
    assert said in refused("resnet", spec, revision)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("{tree}/data/x.bin", "; git ignores data/x.bin, so no revision has it"),
        ("../data/x.bin", "; git ignores data/x.bin, so no revision has it"),
        ("kept_out", "; git ignores sub/kept_out.py, so no revision has it"),
        ("new", "; sub/new.py is not committed"),
        ("mine", ""),
        ("numpy", ""),
        ("/etc/passwd", ""),
    ],
)
def test_a_failure_over_a_file_that_git_does_not_have_says_so(own_code: Path, named: str, said: str) -> None:
    with worktree(resolve("main", "--head")) as tree:
        assert missing_here(f"it has no '{named.format(tree=tree.root)}'", tree) == said
