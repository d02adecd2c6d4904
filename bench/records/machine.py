"""The machine and the software of a run.

Each fact is declared once, at its field, for the table of a run's page and the differences between runs. A new one goes
to the end of its record with the default None, which older runs then have, so that machines keep their names.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, cast, get_type_hints


@dataclass(frozen=True)
class Fact:
    """The way a field is shown and compared."""

    label: str = ""  # empty if it is shown by other code, or not at all
    decides: bool = False  # True if another value means another machine, except a None that is the field's default
    gibibytes: bool = False  # bytes shown and compared in whole GiB: a reboot or driver update may add a few MiB
    empty: str | None = None  # the text of an empty list

    def text(self, value: Any) -> str | None:
        """``value`` as text; None if unknown."""
        if value is None:
            return None
        if isinstance(value, tuple):
            return ", ".join(map(str, value)) or self.empty
        return f"{round(value / 2**30)} GiB" if self.gibibytes else str(value)


@dataclass(frozen=True)
class Gpu:
    """One CUDA device as the driver describes it; an imported run has its name only."""

    name: Annotated[str, Fact(decides=True)]
    memory_bytes: Annotated[int | None, Fact(decides=True, gibibytes=True)]
    compute_capability: Annotated[str | None, Fact(decides=True)]
    multiprocessors: Annotated[int | None, Fact(decides=True)]

    @property
    def labelled(self) -> tuple[str, ...]:
        """The facts that have a label, each with its label before it."""
        known = ((fact, fact.text(value)) for fact, value in facts_of(self) if fact.label)
        return tuple(f"{fact.label} {text}" for fact, text in known if text)

    def __str__(self) -> str:
        memory = () if self.memory_bytes is None else (f"{round(self.memory_bytes / 2**30)} GiB",)
        return " ".join((self.name, *memory, *self.labelled))


@dataclass(frozen=True)
class Machine:
    """The hardware, which decides if absolute seconds can be compared; None: unknown in an imported run."""

    cpu: Annotated[str, Fact("CPU", decides=True)]
    physical_cores: Annotated[int | None, Fact("physical cores", decides=True)]
    logical_cores: Annotated[int | None, Fact("logical cores", decides=True)]
    memory_bytes: Annotated[int | None, Fact("memory", decides=True, gibibytes=True)]
    architecture: Annotated[str, Fact("architecture", decides=True)]
    operating_system: Annotated[str, Fact("operating system")]
    gpus: Annotated[tuple[Gpu, ...], Fact("GPUs", decides=True)] = ()

    @property
    def fingerprint(self) -> str:
        """Six hexadecimal digits that change with the hardware, but not with a kernel update."""
        return hashlib.sha256(json.dumps(_identity(self), sort_keys=True).encode()).hexdigest()[:6]

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
    """The software and settings that can change a figure, the first suspects first. None: unknown or absent."""

    torch: Annotated[str | None, Fact("torch")]
    cuda: Annotated[str | None, Fact("CUDA")]
    cudnn: Annotated[str | None, Fact("cuDNN")]
    driver: Annotated[str | None, Fact("driver")]
    python: Annotated[str, Fact("Python")]
    compiler: Annotated[str | None, Fact("compiler")]
    cpu_capability: Annotated[str | None, Fact("CPU capability")]
    threads: Annotated[int | None, Fact("threads")]
    cores: Annotated[tuple[int, ...], Fact("cores", empty="not pinned")]
    """The logical cores that every measuring process was pinned to; empty if pinning is not possible."""
    huge_pages: Annotated[str | None, Fact("huge pages")]
    governor: Annotated[str | None, Fact("governor")]
    packages: Annotated[dict[str, str], Fact("packages")]
    variables: Annotated[dict[str, str], Fact("variables")]
    """The set environment variables that can change speed (``OMP_*``, ``TORCH*``, …)."""
    loopmark: Annotated[str, Fact("Loopmark")]
    revision: Annotated[str | None, Fact("revision")]
    """Git revision of Loopmark's own tree, with ``+changes`` if it was not clean; None outside git."""
    repository: Annotated[str | None, Fact("repository")] = None
    """The same of the repository in which the command ran; None outside git, in Loopmark's own, and in older runs."""

    @property
    def code(self) -> str | None:
        """The revision of the measured code, as far as it is known."""
        return self.repository or self.revision


def facts_of(record: Gpu | Machine | Environment) -> Iterator[tuple[Fact, Any]]:
    for name, fact, _ in _declared(cast(Any, type(record))):
        yield fact, getattr(record, name)


@cache
def _declared(kind: Any) -> tuple[tuple[str, Fact, bool], ...]:
    """Each field's name and fact, and True if it is None in runs older than the field."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field.name, hints[field.name].__metadata__[0], field.default is None) for field in fields(kind))


def _identity(record: Gpu | Machine) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, fact, is_later in _declared(cast(Any, type(record))):
        value = getattr(record, name)
        if not fact.decides or (value is None and is_later):
            continue
        if isinstance(value, tuple):
            value = [_identity(one) if isinstance(one, Gpu) else one for one in value]
        elif fact.gibibytes and value is not None:
            value = round(value / 2**30)
        found[name] = value
    return found
