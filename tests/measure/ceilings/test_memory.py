"""How large the outermost cache is: told by the kernel, for the cores that are used."""

from pathlib import Path

import pytest
import torch

from loopmark.bench.measure.ceilings.memory import last_level_cache_bytes

CPU = torch.device("cpu")


def cache(cpus: Path, core: int, index: int, level: int, kind: str, size: str, shared: str) -> None:
    folder = cpus / f"cpu{core}" / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, value in (("level", str(level)), ("type", kind), ("size", size), ("shared_cpu_list", shared)):
        (folder / name).write_text(f"{value}\n")


def test_caches_that_cores_share_are_counted_once_and_others_together(tmp_path: Path) -> None:
    for core, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")):
        cache(tmp_path, core, 0, 1, "Data", "32K", str(core))
        cache(tmp_path, core, 1, 1, "Instruction", "64K", str(core))
        cache(tmp_path, core, 3, 3, "Unified", "16M", shared)
    assert last_level_cache_bytes(CPU, (0, 1), tmp_path) == 16 * 2**20
    assert last_level_cache_bytes(CPU, (0, 1, 2), tmp_path) == 32 * 2**20


@pytest.mark.parametrize("size", ["", "0K", "big", "M"])
def test_a_kernel_that_does_not_tell_is_no_cache_of_no_size(tmp_path: Path, size: str) -> None:
    cache(tmp_path, 0, 3, 3, "Unified", size, "0")
    assert last_level_cache_bytes(CPU, (0,), tmp_path) is None
    assert last_level_cache_bytes(CPU, (), tmp_path) is None
