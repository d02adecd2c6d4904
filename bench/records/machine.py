"""The machine a run was made on, and the software it ran with."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Gpu:
    """One CUDA device as the driver describes it; of an imported run its name alone is known."""

    name: str
    memory_bytes: int | None
    compute_capability: str | None
    multiprocessors: int | None


@dataclass(frozen=True)
class Machine:
    """The hardware that decides whether absolute seconds may be compared; None: an imported run does not tell it."""

    cpu: str
    physical_cores: int | None
    logical_cores: int | None
    memory_bytes: int | None
    architecture: str
    operating_system: str
    gpus: tuple[Gpu, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Six hexadecimal digits that change when the hardware does, and not with a kernel update."""
        facts = asdict(self)
        del facts["operating_system"]
        # After a reboot or a driver update the same memory may count a few MiB more or less.
        for holder in (facts, *facts["gpus"]):
            if holder["memory_bytes"] is not None:
                holder["memory_bytes"] = round(holder["memory_bytes"] / 2**30)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:6]

    @property
    def name(self) -> str:
        """The folder that holds this machine's runs, such as ``nvidia-h200-3fa94c``."""
        cores = "" if self.physical_cores is None else f" {self.physical_cores}-core"
        hardware = self.gpus[0].name if self.gpus else self.cpu + cores
        words = re.sub(r"\((?:r|tm|c)\)|\bcpu\b|\bprocessor\b|@ ?\S+", " ", hardware.lower())
        slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-")[:48].rstrip("-") or "unknown"
        return f"{slug}-{self.fingerprint}"


@dataclass(frozen=True)
class Environment:
    """The software and settings that can change a figure on one and the same machine; None: not known, or not there."""

    loopmark: str
    revision: str | None
    """Git revision of Loopmark's own tree, with ``+changes`` when it was not clean; None outside git."""
    python: str
    torch: str | None
    cuda: str | None
    cudnn: str | None
    driver: str | None
    packages: dict[str, str]
    variables: dict[str, str]
    """The environment variables known to change speed (``OMP_*``, ``TORCH*``, …), as they were set."""
    threads: int | None
    cores: tuple[int, ...]
    """The logical cores that every measuring process was pinned to; empty where pinning is not possible."""
    cpu_capability: str | None
    compiler: str | None
    huge_pages: str | None
    governor: str | None
