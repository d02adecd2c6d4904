"""Extra facts about the machine for pytest-benchmark's files: its GPUs, their driver, and torch.

They are read without torch: importing it takes seconds, and listing its devices could leave a CUDA context in
pytest's process. All stay the same from run to run, since pytest-benchmark warns of any that differ.
"""

import runpy
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any


@cache
def machine_facts() -> dict[str, Any]:
    """``gpus`` and ``driver`` from NVML; ``torch`` and the ``cuda`` it was built for; None if absent."""
    import psutil

    from loopmark.bench.measure.nvml import device_names, driver_version

    gpus, driver = list(device_names()), driver_version()
    torch, cuda = _torch()
    cores = psutil.cpu_count(logical=False)
    return {"gpus": gpus, "driver": driver, "torch": torch, "cuda": cuda, "physical_cores": cores}


def _torch() -> tuple[str | None, str | None]:
    """The versions of torch and of the CUDA or ROCm it was built for, from torch's version file."""
    found = util.find_spec("torch")  # this does not import it
    if found is None or found.origin is None:
        return None, None
    try:
        facts = runpy.run_path(str(Path(found.origin).with_name("version.py")))
    except Exception:  # an unknown layout
        return metadata.version("torch"), None
    return facts.get("__version__"), facts.get("cuda") or facts.get("hip")
