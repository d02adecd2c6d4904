"""A history kept: ``history.csv`` and the plots, and its JSON."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loopmark.bench.cores import over_cores
from loopmark.bench.errors import BadInput
from loopmark.bench.judge.history import Change, Point, Series, SeriesSubject, by_subject, suspicions
from loopmark.bench.judge.statistics import Estimate
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.store import RUN_FILE
from loopmark.bench.report.history import words as words
from loopmark.bench.report.table import csv_of, finite
from loopmark.bench.report.text import slugs

Cell = str | int | float | None


def write_history(folder: Path, series: tuple[Series, ...]) -> list[Path]:
    """Write ``history.csv`` and a plot of each subject, as PNG and SVG, into ``folder``; returns what was written."""
    try:
        if (folder / RUN_FILE).exists():
            raise BadInput(f"{folder} is the folder of a run; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / "history.csv"]
        # A lone surrogate is how Python holds a name that is not UTF-8; it is kept as its escape.
        replace_file(written[0], as_csv(series).encode(errors="backslashreplace"))
        written += _draw_plots(folder, by_subject(series))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"cannot write to {folder}: {reason}; choose another --out") from None
    return written


def as_csv(series: tuple[Series, ...]) -> str:
    """One row a point; the level's columns say where the run stands, ``change`` where a new level begins."""
    rows = [_row(one, i) for one in series for i in range(len(one.points))]
    return csv_of(rows, ("machine", "workload", "loop", "run", "speedup"))


def as_json(series: tuple[Series, ...]) -> dict[str, Any]:
    """The history as strict JSON values; None where nothing was measured or bounds it."""
    return {
        "series": [
            {
                **_subject(one.subject),
                "loop": one.loop,
                "noise": one.noise,
                "points": [_point(point) for point in one.points],
                "levels": [
                    {
                        "first": one.points[level.start].run.name,
                        "runs": level.end - level.start,
                        **_figure(level.speedup),
                    }
                    for level in one.levels
                ],
                "changes": [_change(change) for change in one.changes],
            }
            for one in series
        ],
        "suspicions": [
            {"workload": found.subject.workload, "machine": found.subject.machine, "text": words.suspected(found)}
            for found in suspicions(series)
        ],
    }


def _row(series: Series, at: int) -> dict[str, Cell]:
    level = next(level for level in series.levels if level.start <= at < level.end)
    change = next((change for change in series.changes if change.at == at), None)
    return {
        **_subject(series.subject),
        "loop": series.loop,
        **_point(series.points[at]),
        "level": finite(level.speedup.value),
        "level_low": finite(level.speedup.low),
        "level_high": finite(level.speedup.high),
        "change": finite(change.ratio.value) if change else None,
    }


def _subject(subject: SeriesSubject) -> dict[str, Cell]:
    facts = asdict(subject)
    return {
        **{name: fact for name, fact in facts.items() if name != "instructions"},
        "instructions": subject.instructions,
    }


def _point(point: Point) -> dict[str, Cell]:
    figure = _figure(point.speedup)
    return {
        "run": point.run.name,
        "folder": point.folder,
        "started": point.started.isoformat(),
        "loopmark": point.run.environment.loopmark,
        "revision": point.run.environment.revision,
        "torch": point.run.environment.torch,
        "launches": point.launches,
        "speedup": figure["value"],
        "speedup_low": figure["low"],
        "speedup_high": figure["high"],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "run": change.point.run.name,
        "folder": change.point.folder,
        "started": change.point.started.isoformat(),
        "revision": change.point.run.environment.revision,
        "torch": change.point.run.environment.torch,
        "direction": "faster" if change.is_improvement else "slower",
        "before": _figure(change.before),
        "after": _figure(change.after),
        "ratio": _figure(change.ratio),
        "differences": list(change.differences),
    }


def _figure(estimate: Estimate) -> dict[str, float | None]:
    # A log ratio without bounds maps to [0, infinity], whose 0 says no more than its infinity.
    bounded = math.isfinite(estimate.high)
    return {
        "value": finite(estimate.value),
        "low": estimate.low if bounded else None,
        "high": estimate.high if bounded else None,
    }


def _draw_plots(folder: Path, subjects: dict[SeriesSubject, tuple[Series, ...]]) -> list[Path]:
    # Drawing alone needs matplotlib, which takes longer to import than all the rest.
    from loopmark.bench.report import style
    from loopmark.bench.report.history.plot import history

    # A slug is by name, and two subjects of one workload and machine (another batch size, other data) share theirs:
    # the spaces tell them apart, and the slugs end in a number.
    names = {subject: f"history-{words.file_stem(subject)}{' ' * i}" for i, subject in enumerate(subjects)}
    slug = slugs(names.values())

    def draw(subject: SeriesSubject) -> list[Path]:
        figure = history(subjects[subject])
        paths = [folder / f"{slug[names[subject]]}.{kind}" for kind in ("png", "svg")]
        for path in paths:
            replace_file(path, style.save(figure, path.suffix[1:]))
        return paths

    with style.styled():
        return [path for paths in over_cores(draw, subjects) for path in paths]
