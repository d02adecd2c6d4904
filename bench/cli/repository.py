"""The web pages of revisions, from the git repository in which a command runs."""

import re
import subprocess
from collections.abc import Iterable
from urllib.parse import quote

COMMIT = {"github.com": "commit", "codeberg.org": "commit", "gitlab.com": "-/commit", "bitbucket.org": "commits"}
SHORT = r"^(?:[^/@]*@)?([\w.-]+):(?!/)"  # host:path, as ssh has it
REMOTE = re.compile(r"\w+://(?:[^/@]*@)?(?P<host>[\w.-]+)(?::\d+)?/+(?P<path>[^?#]+?)(?:\.git)?/*")
GIT_SECONDS = 10


def web_addresses(revisions: Iterable[str]) -> dict[str, str]:
    """The page of each revision that is a commit here; empty if the remote ``origin`` is on no known host.

    An address is made of the remote's host and path alone: a user's name or token in the remote does not enter it.
    """
    remote = REMOTE.fullmatch(re.sub(SHORT, r"ssh://\1/", _git("remote", "get-url", "origin").strip()))
    if remote is None or (host := remote["host"].lower()) not in COMMIT:
        return {}
    commits = {one: one.removesuffix("+changes") for one in revisions}
    named = {one: commit for one, commit in commits.items() if re.fullmatch("[0-9a-f]{7,40}", commit)}
    said = _git("cat-file", "--batch-check=%(objecttype)", given="\n".join(named.values())).splitlines()
    here = [one for one, kind in zip(named, said, strict=False) if kind == "commit"]
    return {one: f"https://{host}/{quote(remote['path'], safe='/%')}/{COMMIT[host]}/{named[one]}" for one in here}


def _git(*arguments: str, given: str = "") -> str:
    """The output of git; empty without git, outside a repository, or after an error."""
    try:
        done = subprocess.run(
            ["git", *arguments], input=given, capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
