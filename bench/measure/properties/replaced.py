"""An attribute that is another for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, stand_in: Any) -> Iterator[None]:
    """``owner.name`` is ``stand_in``; what ``owner`` inherits rather than has, it inherits again afterwards."""
    own, before = name in vars(owner), getattr(owner, name)
    setattr(owner, name, stand_in)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
