"""What one pytest session remembers from test to test."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from loopmark.bench.records.machine import Machine


@dataclass
class Session:
    """The stored runs that this session is compared with, and what it has found out by itself."""

    stored: list[dict[str, Any]] = field(default_factory=list)
    """As pytest-benchmark read them from its JSON files."""
    lines: list[str] = field(default_factory=list)
    """For the end of the terminal's output, one a measured loop."""
    machines: "dict[str, Machine]" = field(default_factory=dict)
    """This machine, by the device that comes first: describing it takes a process."""
    warned: set[str] = field(default_factory=set)
    """What a person has been warned of already."""


SESSION = pytest.StashKey[Session]()
