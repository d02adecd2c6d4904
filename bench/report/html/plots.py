"""Plots within a page: the SVG of ``plots/``, in colours that follow the page's, with its text for who cannot see."""

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

from loopmark.bench.report.plot_files import PLOTS, Plot
from loopmark.bench.report.text import plain

COLOURS = {
    "#000000": "ink", "#ffffff": "paper", "#555555": "muted", "#8a8a8a": "grey", "#c4c4c4": "rule",
    "#d9d9d9": "band", "#e4e4e4": "grid",
}  # fmt: skip
"""Which of a plot's colours stand for one of the page's, light or dark; all others mean something by themselves."""


def fitting(plots: Iterable[Plot], most_bytes: int) -> tuple[Plot, ...]:
    """The plots that ``most_bytes`` of a page have room for: of every workload those that say most come first."""
    kept, room, order = [], most_bytes, list(PLOTS)
    for plot in sorted(plots, key=lambda plot: order.index(plot.stem)):
        room -= len(embedded(plot).encode())
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
