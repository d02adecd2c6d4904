"""Footprints in their folder: ``memory.json``, written in one move."""

from pathlib import Path

from loopmark.bench.records.files import as_json, replace_file
from loopmark.bench.records.footprint import Footprints

MEMORY_FILE = "memory.json"


def write_footprints(folder: Path, footprints: Footprints) -> None:
    """Keep ``footprints`` in ``folder``, every moment of them."""
    replace_file(folder / MEMORY_FILE, as_json(footprints, indent=None))
