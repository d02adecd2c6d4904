"""How much more of each metric the gate lets pass, and how a person writes that down."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace

from loopmark.bench.errors import BadInput
from loopmark.phases import PHASES

STEP, RATIO, MEMORY = "step", "step / eager", "peak memory"
"""The metrics that every loop has; each phase is one more, by its name."""
SPELLINGS = {"step/eager": RATIO, "peak_memory": MEMORY, "peak-memory": MEMORY}
"""What is easier to type than the names that the reports show."""
MOST = 100.0
"""A hundred times as much: whoever allows more has mistyped it."""


@dataclass(frozen=True)
class Thresholds:
    """The share by which each metric may exceed the baseline's, 0.05 for 5 %."""

    step: float = 0.10
    """Of absolute seconds, on the same machine. Wider than the others, since all of a shared machine drifts."""
    ratio: float = 0.05
    """Of a loop's seconds over eager's, which a machine's drift moves alike."""
    memory: float = 0.05
    phases: dict[str, float] = field(default_factory=dict)
    """A phase decides only where it is named here: phases are many, and noisier than the step that they add up to."""

    def of(self, metric: str) -> float:
        """The threshold of ``metric``; a phase without one of its own is shown against the step's."""
        named = {name: getattr(self, attribute) for name, attribute in _ATTRIBUTES.items()}
        return float(named[metric]) if metric in named else self.phases.get(metric, self.step)

    def changed(self, shares: Mapping[str, float]) -> "Thresholds":
        """These, with the metrics of ``shares`` at other values."""
        own = {_ATTRIBUTES[name]: share for name, share in shares.items() if name in _ATTRIBUTES}
        phases = {name: share for name, share in shares.items() if name not in _ATTRIBUTES}
        return replace(self, **own, phases={**self.phases, **phases})

    def refuse_unknown(self, phases: Iterable[str]) -> None:
        """Raise BadInput for a threshold of something that is neither a metric nor one of ``phases``."""
        known = list(dict.fromkeys([*_ATTRIBUTES, *PHASES, *phases]))
        for name in self.phases:
            if name not in known:
                raise BadInput(f"no metric named {name[:60]!r} to put a threshold on; {_hint(name, known)}")


_ATTRIBUTES = dict(zip((STEP, RATIO, MEMORY), (f.name for f in fields(Thresholds)), strict=False))


def parse_flags(flags: Iterable[str]) -> dict[str, float]:
    """The shares of flags such as ``forward=5%``; of a metric that is named twice, the last."""
    shares = {}
    for flag in flags:
        name, equals, value = flag.rpartition("=")
        if not equals or not name.strip():
            raise BadInput(f"--threshold {flag[:60]} should be METRIC=SHARE, such as forward=5%")
        shares[metric_name(name)] = parse_share(value, f"--threshold {flag[:60]}")
    return shares


def metric_name(text: str) -> str:
    """``text`` as the metric that it means: ``step/eager`` is ``step / eager``."""
    name = text.strip()
    return SPELLINGS.get(name, name)


def parse_share(value: object, place: str) -> float:
    """A share written as 0.05 or "5%". Raises BadInput, which names ``place``, for anything that is none."""
    given = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    text = value.strip() if isinstance(value, str) else ""
    percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%") if given is None else given)
    except ValueError:
        raise BadInput(f"{place}: {str(value)[:60]!r} is no share; write 0.05 or 5%") from None
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    if not math.isfinite(number) or number < 0:
        raise BadInput(f"{place}: a share is a number of 0 or more, such as 0.05 or 5%, not {str(value)[:60]}")
    if number >= 1 and not percent:
        raise BadInput(f"{place}: {number:g} would be {number:.0%}; write {number:g}% if that is what you mean")
    share = number / 100 if percent else number
    if share > MOST:
        raise BadInput(f"{place}: {text[:60]} lets everything pass; write 5% for five per cent")
    return share


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
