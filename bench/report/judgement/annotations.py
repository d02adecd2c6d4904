"""A comparison as GitHub's workflow commands, which show beside a pull request's changes."""

from loopmark.bench.judge.finding import Judgement
from loopmark.bench.report import claim
from loopmark.bench.report.text import elide

MOST = 10
"""GitHub shows ten errors and ten warnings of a step, and drops the others."""


def annotations(judgement: Judgement) -> list[str]:
    """A line for each regression, each finding left open and each warning; of a refusal, one."""
    name = f"loopmark {judgement.command}"
    if judgement.outcome == "not comparable":
        return [_command("error", f"{name}: not comparable", claim.conclusion(judgement))]
    errors = [(f"{name}: {claim.title(finding)}", claim.sentence(finding)) for finding in judgement.regressions]
    warnings = [
        (f"{name}: {claim.title(finding)}", claim.sentence(finding))
        for finding in judgement.findings
        if finding.decides and finding.may_be_slower
    ]
    warnings += [(name, elide(warning, claim.SENTENCE_LENGTH)) for warning in judgement.warnings]
    return [*_commands("error", errors, name), *_commands("warning", warnings, name)]


def _commands(level: str, said: list[tuple[str, str]], name: str) -> list[str]:
    more = len(said) - MOST
    if more > 0:
        said = [*said[: MOST - 1], (name, f"and {more + 1} more; see the job's summary")]
    return [_command(level, title, message) for title, message in said]


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """``text`` as a command's message, by GitHub's own rules (actions/toolkit, core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """``text`` as a property, which a comma or another colon would end."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
