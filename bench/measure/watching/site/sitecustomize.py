"""Load Loopmark's hooks into a watched Python as it starts, and then the `sitecustomize` that this file hides."""

import os
import sys


def _load(name, folder):
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec(name, folder)
    if spec is None or spec.loader is None:
        return None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes milliseconds to import
if "LOOPMARK_WATCH" in os.environ:
    try:
        _load("loopmark_hooks", [os.path.dirname(_here)]).install_after_torch()  # noqa: PTH120
    except Exception as error:  # the script runs as it would without Loopmark
        sys.stderr.write(f"loopmark: this Python is not watched: {error!r}\n")
_load("sitecustomize", [folder for folder in sys.path if os.path.abspath(folder or ".") != _here])  # noqa: PTH100
