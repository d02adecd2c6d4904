"""The documentation as a site: ``make docs``."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import loopmark  # noqa: E402

# The commands' help is printed by this interpreter, at a width that fits the page.
os.environ.update(
    PATH=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    PYTHONPATH=str(ROOT),
    COLUMNS="88",
    NO_COLOR="1",
)

project = "Loopmark"
author = "The Loopmark authors"
release = loopmark.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.programoutput",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Loopmark"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
