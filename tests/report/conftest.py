"""Empty drawings for tests of the text around them: rendering takes longer than everything else together."""

import pytest
from matplotlib.figure import Figure

from loopmark.bench.report import style


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each plot, but save an empty drawing."""
    monkeypatch.setattr(style, "save", lambda figure, kind: b"<svg></svg>")


@pytest.fixture
def only_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render each plot as SVG, as on a page, but save an empty PNG."""
    save = style.save

    def save_svg(figure: Figure, kind: str) -> bytes:
        return save(figure, kind) if kind == "svg" else b""

    monkeypatch.setattr(style, "save", save_svg)
