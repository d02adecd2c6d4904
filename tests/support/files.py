"""A made-up /proc and /sys."""

from pathlib import Path


def write(root: Path, files: dict[str, str]) -> Path:
    """Write ``files``, path to text, below ``root``."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
