"""Drawings for tests that look at what is around them: a drawing takes longer to render than all else together."""

import pytest
from matplotlib.figure import Figure

from loopmark.bench.report import style


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plot is made and kept, and is an empty drawing in its file."""
    monkeypatch.setattr(style, "save", lambda figure, kind: b"<svg></svg>")


@pytest.fixture
def only_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plot is rendered as a page shows it, and its PNG is empty."""
    save = style.save

    def save_svg(figure: Figure, kind: str) -> bytes:
        return save(figure, kind) if kind == "svg" else b""

    monkeypatch.setattr(style, "save", save_svg)
