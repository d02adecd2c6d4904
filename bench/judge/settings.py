"""What a project says of its checks, in ``[tool.loopmark.check]`` of its pyproject.toml."""

import difflib
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.finding import Inconclusive
from loopmark.bench.judge.thresholds import Thresholds, metric_name, parse_share

FILE = "pyproject.toml"
TABLE = "[tool.loopmark.check]"
KEYS = ("false-alarms", "inconclusive", "thresholds")
MOST_FALSE_ALARMS = 0.5


@dataclass(frozen=True)
class Settings:
    """How a check decides."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    false_alarms: float = 0.01
    """The share of checks of unchanged code that may be called a regression, all that decides together."""
    inconclusive: Inconclusive | None = None
    """What an inconclusive check counts as; None is an outcome of its own."""


def load_settings(start: Path) -> Settings:
    """The settings of the nearest pyproject.toml in ``start`` or above it; the defaults where none says anything."""
    path = next((p for folder in (start, *start.parents) if (p := folder / FILE).is_file()), None)
    if path is None:
        return Settings()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read {path}: {' '.join(str(error).split())[:160]}") from None
    table: Any = content
    for key in ("tool", "loopmark", "check"):
        table = table.get(key, {}) if isinstance(table, dict) else None
    return parse_settings(table, str(path))


def parse_settings(table: object, file: str) -> Settings:
    """The settings that the table of ``file`` holds. Raises BadInput, which names the place, for what is none."""
    place = f"{TABLE} of {file}"
    given = _table(table, place)
    for key in given:
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(KEYS)}"
            raise BadInput(f"{place} has no key {key[:60]!r}; {hint}")
    shares = {
        metric_name(name): parse_share(value, f"{name[:60]} in {place}")
        for name, value in _table(given.get("thresholds", {}), f"thresholds in {place}").items()
    }
    settings = Settings(Thresholds().changed(shares))
    if "false-alarms" in given:
        settings = replace(settings, false_alarms=parse_false_alarms(given["false-alarms"], f"false-alarms in {place}"))
    if "inconclusive" in given:
        settings = replace(settings, inconclusive=_choice(given["inconclusive"], f"inconclusive in {place}"))
    return settings


def parse_false_alarms(value: object, place: str) -> float:
    """A share of false alarms, more than none and at most a half, written as 0.01 or "1%"."""
    share = parse_share(value, place)
    if not 0 < share <= MOST_FALSE_ALARMS:
        raise BadInput(f"{place} should be more than 0 and at most {MOST_FALSE_ALARMS:.0%}, not {str(value)[:60]}")
    return share


def _choice(value: object, place: str) -> Inconclusive:
    for choice in get_args(Inconclusive):
        if value == choice:
            chosen: Inconclusive = choice
            return chosen
    raise BadInput(f"{place} should be 'pass' or 'fail', not {str(value)[:60]!r}")


def _table(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{place} should be a table, not {str(value)[:60]!r}")
    return value
