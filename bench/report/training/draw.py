"""Training made readable: ``training.csv``, plots, and where no run was timed, pages of its own."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.training import TrainingSummary, summarise_training
from loopmark.bench.records.files import replace_file
from loopmark.bench.records.training import Training, TrainingSamples
from loopmark.bench.report.pages import html_page, markdown_page
from loopmark.bench.report.plot_files import draw_plots, with_key_figures
from loopmark.bench.report.training.page import contents
from loopmark.bench.report.training.spreadsheet import as_csv
from loopmark.bench.report.training.table import Starts

if TYPE_CHECKING:
    from loopmark.bench.report import style


def draw_training(folder: Path, training: Training, samples: TrainingSamples) -> TrainingSummary:
    """Judge ``training`` and write what a person reads into ``folder``, which holds no timed run."""
    summary = summarise_training(training, samples)
    try:
        from loopmark.bench.report import style

        styles = style.line_styles((row.label, row.repeat) for workload in summary.workloads for row in workload.rows)
        names = [workload.workload for workload in summary.workloads]
        drawn = draw_plots(folder / "plots", names, training_figures(summary, samples, styles, {}))
        plots = with_key_figures(drawn, (), summary)
        write_training_csv(folder, summary)
        said = contents(summary, plots)
        replace_file(folder / "report.md", markdown_page("training_report.md.jinja", said).encode())
        replace_file(folder / "report.html", html_page("training.html.jinja", said, plots).encode())
    except OSError as error:
        raise unwritable(folder, error) from None
    return summary


def write_training_csv(folder: Path, summary: TrainingSummary) -> None:
    """Keep ``training.csv`` in ``folder``."""
    # A lone surrogate is how Python holds a name that is not UTF-8; it is kept as its escape.
    replace_file(folder / "training.csv", as_csv(summary).encode(errors="backslashreplace"))


def training_figures(
    summary: TrainingSummary, samples: TrainingSamples, styles: "dict[str, style.LineStyle]", starts: Starts
) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """What there is to draw: workload, stem, and what makes the figure."""
    from loopmark.bench.report.training import plots

    for workload in summary.workloads:
        yield workload.workload, "quality", partial(plots.quality, workload, summary, samples, styles, starts)
        yield workload.workload, "training", partial(plots.losses, workload, summary, samples, styles)


def unwritable(folder: Path, error: OSError) -> BadInput:
    """A folder that takes no files, or has something else in a file's or a folder's place."""
    path = Path(error.filename2 or error.filename or folder)
    if path.is_dir() and path != folder and isinstance(error, (IsADirectoryError, PermissionError)):
        return BadInput(f"{path} is a folder, where a file is to be written; move it away")
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return BadInput(f"{path} is no folder, where one is to be made; move it away")
    return BadInput(f"cannot write {error.filename or folder}: {error.strerror}; copy the run elsewhere")
