"""The message about bad input."""

from collections.abc import Callable

import pytest

from loopmark.bench.errors import BadInput


def complaint(call: Callable[[], object]) -> str:
    """The text of the BadInput that ``call`` raises. It must be one line, with the next step for the user."""
    with pytest.raises(BadInput) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert "\r" not in text
    assert len(text) < 700
    return text
