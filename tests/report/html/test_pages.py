"""``report.html`` read as text: its contents, its limits, and foreign text, which must stay text."""

import dataclasses
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest

from loopmark.bench.records.store import read
from loopmark.bench.report import pages
from loopmark.bench.report.draw import draw
from loopmark.bench.report.pages import embedded, fitting
from loopmark.bench.report.plot_files import Plot
from tests.support.hostile import NAMES
from tests.support.synthetic import Truth, ceilings, make_run

pytestmark = pytest.mark.usefixtures("only_svg")
VOID = {"meta", "link", "br", "img", "wbr"}
LOOPS = [
    Truth("eager"), Truth("eager", repeat=True), Truth("compile", 0.006, compile_seconds=20.0),
    Truth("cuda_graph", status="skipped", reason="needs a <CUDA> device"),
]  # fmt: skip


class Outline(HTMLParser):
    """The parts of a page, as a browser would read them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self._open):
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


def page_of(folder: Path, *truths: Truth, workloads: tuple[str, ...] = ("resnet",), **changes: object) -> str:
    run, samples = make_run(list(truths), workloads, launches=3, rounds=4)
    draw(folder, dataclasses.replace(run, **changes), samples, ceilings=ceilings())  # type: ignore[arg-type]
    return (folder / "report.html").read_text(encoding="utf-8")


class Drawn(NamedTuple):
    """A page, its parts, and the number of plots beside it."""

    text: str
    outline: Outline
    plots: int


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """The page of a plain run, shared by most of these tests."""
    folder = tmp_path_factory.mktemp("plain")
    page = page_of(folder, *LOOPS)
    return Drawn(page, Outline(page), len(list((folder / "plots").glob("*.svg"))))


@pytest.fixture
def plain(drawn: Drawn) -> Outline:
    return drawn.outline


def test_the_page_holds_the_answer_the_tables_every_plot_and_the_command(drawn: Drawn) -> None:
    page = drawn.outline

    assert page.tags["h1"] == 1
    assert "compile, 1.6" in page.text
    assert "noise floor" in page.text.lower()
    assert "cuda_graph skipped: needs a <CUDA> device" in page.text
    assert "loopmark run" in page.text
    assert page.values("class").count("plot") == drawn.plots >= 6
    assert page.values("class").count("plot narrow") == 2


def test_it_stands_alone(drawn: Drawn) -> None:
    page, outline = drawn.text, drawn.outline

    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(outline.tags)
    beside = {value for value in outline.values("href") if not value.startswith(("#", "data:"))}
    assert beside == {"summary.csv"}
    assert not outline.values("src")
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert len(page) < 5e6


def test_a_plot_says_in_words_what_it_shows_and_shares_no_name_with_another(tmp_path: Path) -> None:
    page = Outline(page_of(tmp_path, *LOOPS, workloads=("resnet", "gpt")))
    names = page.values("id")

    assert len(names) == len(set(names))
    labelled = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-labelledby")]
    assert len(labelled) == page.tags["svg"]
    assert set(labelled) <= set(names)
    assert "Speedup of every loop with its interval, on gpt" in page.text


def test_a_plots_text_ends_with_the_figures_that_it_comes_to(tmp_path: Path) -> None:
    page = Outline(page_of(tmp_path, *LOOPS, Truth("slow", 0.1)))

    assert re.search(r"Speedup .* on resnet: compile 1\.6\S* \[.*\], faster; slow 0\.1\S* \[.*\], slower", page.text)
    assert re.search(
        r"Seconds a step in each phase.*: eager \S+ ms, 5\d % of it in backward; compile \S+ ms", page.text
    )


def test_what_disturbed_the_run_comes_with_what_to_do_about_each_kind_of_it(plain: Outline) -> None:
    page = plain.text

    assert "Core taken away: end other programs" in page
    assert "Throttled:" not in page
    assert "Another process on the GPU:" not in page


def test_a_link_to_a_part_of_the_page_leads_to_one(plain: Outline) -> None:
    inside = {value[1:] for value in plain.values("href") if value.startswith("#")}
    assert {"resnet", "resnet.phases", "resnet.start", "about.machine"} <= inside <= set(plain.values("id"))


def test_a_caption_says_what_the_title_does_not(drawn: Drawn) -> None:
    captions = re.findall("<figcaption>(.*?)</figcaption>", drawn.text)
    assert any(re.fullmatch(r"compile 1\.6\S* \[.*\], faster\. Right of 1x is faster\.", one) for one in captions)
    assert not any("resnet" in one for one in captions)


def test_why_a_loop_was_skipped_is_said_once(plain: Outline) -> None:
    assert plain.text.count("needs a <CUDA> device") == 1


def test_a_table_has_a_caption_headings_and_the_figures_that_it_sorts_by(plain: Outline) -> None:
    assert plain.tags["caption"] == plain.tags["table"] >= 4
    assert set(plain.values("scope")) == {"col", "row"}
    figures = [float(value) for value in plain.values("data-value")]
    assert any(0.009 < value < 0.011 for value in figures)  # eager's step, in seconds


@pytest.mark.parametrize("name", NAMES)
def test_whatever_others_wrote_is_text(name: str, plain: Outline, tmp_path: Path) -> None:
    hostile = Outline(
        page_of(
            tmp_path, *LOOPS[:2], Truth(name, 0.006), Truth("fails", status="failed", reason=f"said {name}"),
            workloads=(name,), warnings=(f"beware of {name}",), name=name,
        )
    )  # fmt: skip

    assert hostile.tags["script"] == 1
    assert set(hostile.tags) <= {*plain.tags, "li", "strong"}
    assert not [value for _, found, value in hostile.attributes if found.startswith("on")]


def test_a_line_of_code_is_whole_so_that_it_can_be_copied(tmp_path: Path) -> None:
    code = f"train --workload /home/{'a' * 300}/task.py:make_task --loop step.py:step"
    run, samples = make_run([*LOOPS[:2], Truth("tf32", 0.006)])
    draw(
        tmp_path,
        dataclasses.replace(run, cases=tuple(dataclasses.replace(c, code=(code,)) for c in run.cases)),
        samples,
    )
    assert f"<code>{code}</code>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_interruption_and_warnings_come_first_with_what_to_do(tmp_path: Path) -> None:
    page = Outline(page_of(tmp_path, *LOOPS, interrupted=True, warnings=("the governor is powersave: set it",)))

    assert page.text.index("Interrupted") < page.text.index("Every loop on resnet")
    assert "run its command again for all of it" in page.text
    assert "the governor is powersave: set it" in page.text


def test_a_plot_that_the_page_has_no_room_for_is_named_with_its_file(tmp_path: Path) -> None:
    plots = [Plot("resnet", f"{i}.svg", "phases", "it", f"<svg>{'x' * 100}</svg>") for i in range(5)]
    assert fitting(plots, 3 * len(embedded(plots[0])) - 1) == tuple(plots[:2])


def test_a_plot_that_says_nothing_is_a_sentence_on_both_pages(tmp_path: Path) -> None:
    page = page_of(tmp_path, *LOOPS[:2])
    said = "No plot of speedups: only eager's repetition has one."
    assert said in Outline(page).text
    assert said in (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    assert not (tmp_path / "plots/speedup-resnet.svg").exists()


def test_what_says_least_of_any_workload_is_the_first_to_go() -> None:
    plots = [Plot(name, f"{stem}-{name}.svg", stem, "it", "<svg/>") for name in "ab" for stem in ("phases", "losses")]
    room = 3 * len(embedded(plots[1]))
    assert [plot.file for plot in fitting(plots, room)] == ["phases-a.svg", "phases-b.svg", "losses-a.svg"]


def test_a_page_keeps_to_its_size_however_much_the_rest_of_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    plots = [Plot("resnet", f"{i}.svg", "phases", "it", f"<svg>{'x' * 30_000}</svg>") for i in range(5)]
    monkeypatch.setattr(pages, "_html", lambda _, context, shown: "r" * 40_000 + "".join(map(embedded, shown)))
    monkeypatch.setattr(pages, "MOST_BYTES", 110_000)
    made = pages.html_page("training.jinja", {}, plots)
    assert 100_000 < len(made) <= 110_000


def test_a_plots_colours_follow_the_pages_where_they_mean_nothing_by_themselves() -> None:
    svg = '<?xml version="1.0"?><svg width="9"><!-- a --><g id="a" style="fill: #000000; stroke: #0072b2"/></svg>'
    shown = embedded(Plot("resnet", "phases-resnet.svg", "phases", "<it>", svg))

    assert shown == (
        '<svg class="plot" role="img" aria-labelledby="phases-resnet-title" width="9">'
        '<title id="phases-resnet-title">&lt;it&gt;</title>'
        '<g id="phases-resnet-a" style="fill: var(--ink); stroke: #0072b2"/></svg>'
    )


def test_a_training_by_itself_has_a_page_of_its_own(tmp_path: Path) -> None:
    from loopmark.bench.report.draw import draw_training
    from tests.support.trainings import Taught, make_training

    draw_training(tmp_path, *make_training([Taught("eager"), Taught("amp_bf16", error=0.02, bits=8)], ("resnet",)))
    page = Outline((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "The same training" in page.text
    assert page.tags["svg"] >= 1


def test_the_reference_runs_page_is_small(tmp_path: Path) -> None:
    (folder,) = Path("results/reference").glob("*/2*/run.json")
    run, samples = read(folder.parent)
    draw(tmp_path, run, samples)
    assert (tmp_path / "report.html").stat().st_size < 5e6
