"""Footprints in their folder: ``memory.json``, written in one move."""

import json
from pathlib import Path

from bench.records.codec import encode
from bench.records.footprint import Footprints
from bench.records.store import replace_file

MEMORY_FILE = "memory.json"


def write_footprints(folder: Path, footprints: Footprints) -> None:
    """Keep ``footprints`` in ``folder``, every moment of them."""
    text = json.dumps(encode(footprints), allow_nan=False, ensure_ascii=False) + "\n"
    replace_file(folder / MEMORY_FILE, text.encode(errors="backslashreplace"))
