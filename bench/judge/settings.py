"""The settings of a check: its thresholds, and their values in a project's pyproject.toml."""

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.finding import Inconclusive
from loopmark.phases import PHASES

RATIO_TO = "step / {}"  # the metric that is shown, with the baseline's name; in settings, eager stands for any baseline
STEP, RATIO, MEMORY = "step", RATIO_TO.format("eager"), "peak memory"  # the metrics of every loop, besides its phases
FIELDS = {STEP: "step", RATIO: "ratio", MEMORY: "memory"}  # each metric's field of `Thresholds`
SPELLINGS = {"peak_memory": MEMORY, "peak-memory": MEMORY}  # easier to type
MOST = 100.0  # a hundredfold increase; a larger share is a typing error
MOST_FALSE_ALARMS = 0.5
FILE = "pyproject.toml"
KEYS = ("false-alarms", "inconclusive", "thresholds")


@dataclass(frozen=True)
class Thresholds:
    """The share by which each metric may exceed the baseline's, 0.05 for 5 %."""

    step: float = 0.10  # of absolute seconds on one machine; wider, since a shared machine drifts
    ratio: float = 0.05  # of a loop's seconds over the baseline's, which drift alike
    memory: float = 0.05
    phases: dict[str, float] = field(default_factory=dict)
    """Only phases named here decide the outcome, since phases are many and noisier than the step."""

    def of(self, metric: str) -> float:
        """The threshold of ``metric``; a phase without its own is shown with the step's."""
        shares = {STEP: self.step, RATIO: self.ratio, MEMORY: self.memory, **self.phases}
        return shares.get(metric_name(metric), self.step)

    def changed(self, shares: Mapping[str, float]) -> "Thresholds":
        own = {FIELDS[name]: share for name, share in shares.items() if name in FIELDS}
        phases = {name: share for name, share in shares.items() if name not in FIELDS}
        return replace(self, **own, phases={**self.phases, **phases})

    def refuse_unknown(self, phases: Iterable[str]) -> None:
        """Raise BadInput for a threshold whose name is neither a metric nor one of ``phases``."""
        known = list(dict.fromkeys([*FIELDS, *PHASES, *phases]))
        for name in self.phases:
            if name not in known:
                raise BadInput(f"no metric named {name[:60]!r} to put a threshold on; {_hint(name, known)}")


def parse_flags(flags: Iterable[str]) -> dict[str, float]:
    """The shares in flags such as ``forward=5%``; the last one counts if a metric is named twice."""
    shares = {}
    for flag in flags:
        name, equals, value = flag.rpartition("=")
        if not equals or not name.strip():
            raise BadInput(f"--threshold {flag[:60]} should be METRIC=SHARE, such as forward=5%")
        shares[metric_name(name)] = parse_share(value, f"--threshold {flag[:60]}")
    return shares


def metric_name(text: str) -> str:
    """The metric's name in the settings for ``text``: ``step / eager`` for the step over that of any baseline."""
    name = text.strip()
    return RATIO if re.match(r"step *\/", name) else SPELLINGS.get(name, name)


def parse_share(value: object, place: str) -> float:
    """A share written as 0.05 or "5%". Raises BadInput, which names ``place``, for anything else."""
    given = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    text = value.strip() if isinstance(value, str) else ""
    percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%") if given is None else given)
    except ValueError:
        raise BadInput(f"{place}: {str(value)[:60]!r} is no share; write 0.05 or 5%") from None
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number) or number < 0:
        raise BadInput(f"{place}: a share is a number of 0 or more, such as 0.05 or 5%, not {str(value)[:60]}")
    if number >= 1 and not percent:
        raise BadInput(f"{place}: {number:g} would be {number:.0%}; write {number:g}% if that is what you mean")
    share = number / 100 if percent else number
    if share > MOST:
        raise BadInput(f"{place}: {text[:60]} lets everything pass; write 5% for five per cent")
    return share


def parse_false_alarms(value: object, place: str) -> float:
    """A share of false alarms, above 0 and at most a half, written as 0.01 or "1%"."""
    share = parse_share(value, place)
    if not 0 < share <= MOST_FALSE_ALARMS:
        raise BadInput(f"{place} should be more than 0 and at most {MOST_FALSE_ALARMS:.0%}, not {str(value)[:60]}")
    return share


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


@dataclass(frozen=True)
class Settings:
    thresholds: Thresholds = field(default_factory=Thresholds)
    false_alarms: float = 0.01  # share of checks of unchanged code called a regression, over all deciding findings
    inconclusive: Inconclusive | None = None  # how an inconclusive check counts; None gives it its own exit status


def load_settings(start: Path) -> Settings:
    """The settings of the nearest pyproject.toml in ``start`` or above it; the defaults if there are none."""
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
    """The settings in the table of ``file``. Raises BadInput, which names the place, for invalid ones."""
    place = f"[tool.loopmark.check] of {file}"
    given = _table(table, place)
    for key in given:
        if key not in KEYS:
            raise BadInput(f"{place} has no key {key[:60]!r}; {_hint(key, KEYS)}")
    shares = {
        metric_name(name): parse_share(value, f"{name[:60]} in {place}")
        for name, value in _table(given.get("thresholds", {}), f"thresholds in {place}").items()
    }
    settings = Settings(Thresholds().changed(shares))
    if "false-alarms" in given:
        settings = replace(settings, false_alarms=parse_false_alarms(given["false-alarms"], f"false-alarms in {place}"))
    if "inconclusive" in given:
        choice = given["inconclusive"]
        if choice not in get_args(Inconclusive):
            raise BadInput(f"inconclusive in {place} should be 'pass' or 'fail', not {str(choice)[:60]!r}")
        settings = replace(settings, inconclusive=choice)
    return settings


def _table(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{place} should be a table, not {str(value)[:60]!r}")
    return value
