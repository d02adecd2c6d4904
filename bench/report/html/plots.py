"""Plots within a page: the SVG of ``plots/``, in colours that follow the page's, with its text for who cannot see."""

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

from bench.report.plot_files import Plot
from bench.report.text import plain

COLOURS = {
    "#000000": "ink", "#ffffff": "paper", "#555555": "muted", "#8a8a8a": "grey", "#c4c4c4": "rule",
    "#d9d9d9": "band", "#e4e4e4": "grid",
}  # fmt: skip
"""Which of a plot's colours stand for one of the page's, light or dark; all others mean something by themselves."""

MOST_BYTES = 4_000_000
"""Of the plots of one page; what comes after stays a file."""


def fitting(plots: Iterable[Plot], most_bytes: int = MOST_BYTES) -> tuple[Plot, ...]:
    """The plots, the first of them first, that a page has room for."""
    kept, room = [], most_bytes
    for plot in plots:
        room -= len(plot.svg)
        if room < 0:
            break
        kept.append(plot)
    return tuple(kept)


def embedded(plot: Plot) -> Markup:
    """The plot as an element; its names are its own, so that no two plots of a page share any."""
    key = plot.file.removesuffix(".svg")
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<\?xml.*?\?>|<!DOCTYPE.*?>", "", plot.svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", svg)
    svg = re.sub("#[0-9a-f]{6}", lambda found: _colour(found[0]), svg)
    svg = re.sub(r">\s+<", "><", svg)
    title = f'<title id="{key}-title">{escape(plain(plot.text))}</title>'
    opening = f'<svg class="plot" role="img" aria-labelledby="{key}-title"'
    svg = re.sub(r"<svg\b([^>]*)>", lambda found: f"{opening}{found[1]}>{title}", svg, count=1)
    return Markup(svg)


def _colour(colour: str) -> str:
    return f"var(--{COLOURS[colour]})" if colour in COLOURS else colour
