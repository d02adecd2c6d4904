"""Names of machines that fit beside a figure, and that are no other machine's."""

import re
from collections import Counter
from collections.abc import Sequence

from loopmark.bench.judge.differences import UNKNOWN
from loopmark.bench.judge.side_by_side import Setting, settings_of
from loopmark.bench.records.run import Run

LONGEST = 28


def machine_names(runs: Sequence[Run]) -> list[str]:
    """A name for each run by what it was made on: the machine's own, as short as tells it from the others.

    The fingerprint is part of it where two machines would else be called alike; the device, the threads and the
    instructions where one machine was measured with several, and the device where a machine with a GPU was measured
    without it.
    """
    settings = settings_of(runs)
    suffixes = [_suffix(run, setting, settings) for run, setting in zip(runs, settings, strict=True)]
    stems = [
        _cut(run.machine.name.removesuffix(f"-{run.machine.fingerprint}"), LONGEST - len(suffix))
        for run, suffix in zip(runs, suffixes, strict=True)
    ]
    names = []
    for stem, suffix, setting in zip(stems, suffixes, settings, strict=True):
        like = {s.fingerprint for other, s in zip(stems, settings, strict=True) if other == stem}
        mark = f"-{setting.fingerprint}" if len(like) > 1 else ""
        names.append(f"{_cut(stem, LONGEST - len(suffix) - len(mark))}{mark}{suffix}")
    return apart(names)


def apart(names: Sequence[str]) -> list[str]:
    """``names``, those that are alike numbered."""
    count, seen = Counter(names), Counter[str]()
    made = []
    for name in names:
        seen[name] += 1
        made.append(f"{name} ({seen[name]})" if count[name] > 1 else name)
    return made


def _suffix(run: Run, setting: Setting, settings: Sequence[Setting]) -> str:
    own = [other for other in settings if other.fingerprint == setting.fingerprint]
    device = len({other.device for other in own}) > 1 or (setting.device == "cpu" and bool(run.machine.gpus))
    threads = len({other.threads for other in own if other.device == setting.device}) > 1
    instructions = len({other.instructions for other in own if other.device == setting.device}) > 1
    return "".join(
        [
            f" {setting.device[:8]}" if device else "",
            f" {setting.threads} thread{'' if setting.threads == 1 else 's'}" if threads else "",
            f" {(setting.instructions or UNKNOWN)[:8]}" if instructions else "",
        ]
    )


def _cut(text: str, length: int) -> str:
    """``text``, or as many whole words of it as are no longer."""
    if len(text) <= length:
        return text
    words = text[: length + 1].rpartition("-")[0] or text[:length]
    return re.sub(r"-\d+$", "", words) if text[len(words) :] == "-core" else words
