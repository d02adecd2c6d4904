"""What a step of a workload is, in words."""

from typing import Protocol

from loopmark.bench.report.text import plain

DIGEST = 6
"""Characters of a hash that tell two data sets apart."""


class Work(Protocol):
    """Whatever knows what one step has to do; None where nobody recorded it."""

    @property
    def size(self) -> str: ...
    @property
    def batch_size(self) -> int | None: ...
    @property
    def parameters(self) -> int | None: ...
    @property
    def data_sha256(self) -> str | None: ...


def work(one: Work) -> str:
    """``small, batch of 64, 77,200 parameters, data 0e117e``."""
    parts = [one.size]
    if one.batch_size is not None:
        parts.append(f"batch of {one.batch_size:,}")
    if one.parameters is not None:
        parts.append(f"{one.parameters:,} parameters")
    if one.data_sha256:
        parts.append(f"data {one.data_sha256[:DIGEST]}")
    return plain(", ".join(parts))
