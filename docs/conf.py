"""The documentation as a site: ``make docs``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import loopmark  # noqa: E402

project = "Loopmark"
author = "The Loopmark authors"
release = loopmark.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Loopmark"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
