"""What differs between the surroundings of two runs, a sentence each: the first suspects of any change."""

from collections.abc import Iterator, Mapping

from bench.records.machine import Environment, Gpu, Machine
from bench.records.run import Run

NONE = "none"


def differences(base: Run, head: Run) -> tuple[str, ...]:
    """What differs in hardware, software, settings and data, such as ``torch 2.12.0 → 2.13.0``."""
    sentences = [
        *_machine(base.machine, head.machine),
        *environment_differences(base.environment, head.environment),
        *_plan(base, head),
        *_data(base, head),
    ]
    return tuple(dict.fromkeys(sentences))


def _machine(a: Machine, b: Machine) -> Iterator[str]:
    yield from _changed("CPU", a.cpu, b.cpu)
    yield from _changed("physical cores", a.physical_cores, b.physical_cores)
    yield from _changed("logical cores", a.logical_cores, b.logical_cores)
    yield from _changed("memory", *(m.memory_bytes and f"{m.memory_bytes / 2**30:.0f} GiB" for m in (a, b)))
    yield from _changed("architecture", a.architecture, b.architecture)
    yield from _changed("operating system", a.operating_system, b.operating_system)
    yield from _changed("GPUs", *(", ".join(map(_gpu, m.gpus)) or NONE for m in (a, b)))


def _gpu(gpu: Gpu) -> str:
    return gpu.name if gpu.memory_bytes is None else f"{gpu.name} {gpu.memory_bytes / 2**30:.0f} GiB"


def environment_differences(base: Environment, head: Environment) -> tuple[str, ...]:
    """What differs in software and settings."""
    return tuple(_software(base, head))


def _software(a: Environment, b: Environment) -> Iterator[str]:
    yield from _changed("torch", a.torch, b.torch)
    yield from _changed("CUDA", a.cuda, b.cuda)
    yield from _changed("cuDNN", a.cudnn, b.cudnn)
    yield from _changed("driver", a.driver, b.driver)
    yield from _changed("Python", a.python, b.python)
    yield from _changed("compiler", a.compiler, b.compiler)
    yield from _changed("CPU capability", a.cpu_capability, b.cpu_capability)
    yield from _changed("threads", a.threads, b.threads)
    yield from _changed("cores", *(", ".join(map(str, e.cores)) or "not pinned" for e in (a, b)))
    yield from _changed("huge pages", a.huge_pages, b.huge_pages)
    yield from _changed("governor", a.governor, b.governor)
    # torch has been named, by the version that it gives itself.
    yield from _changed_keys("package ", a.packages, b.packages, passed_over="torch")
    yield from _changed_keys("", a.variables, b.variables)
    yield from _changed("Loopmark", a.loopmark, b.loopmark)
    yield from _changed("revision", a.revision, b.revision)


def _plan(base: Run, head: Run) -> Iterator[str]:
    a, b = base.plan, head.plan
    yield from _changed("device", a.device, b.device)
    yield from _changed("size", a.size, b.size)
    yield from _changed("launches", a.launches, b.launches)
    yield from _changed("seed", a.seed, b.seed)
    yield from _changed("seconds a block", a.block_seconds, b.block_seconds)


def _data(base: Run, head: Run) -> Iterator[str]:
    hashes = [
        {case.workload: case.data_sha256[:12] for case in run.cases if case.data_sha256 is not None}
        for run in (base, head)
    ]
    shared = [name for name in hashes[0] if name in hashes[1]]
    for name in shared:
        yield from _changed(f"data of {name}, SHA-256", hashes[0][name], hashes[1][name])


def _changed(what: str, base: object, head: object) -> Iterator[str]:
    if base != head:
        yield f"{what} {NONE if base is None else base} → {NONE if head is None else head}"


def _changed_keys(kind: str, base: Mapping[str, str], head: Mapping[str, str], passed_over: str = "") -> Iterator[str]:
    for key in sorted({*base, *head} - {passed_over}):
        yield from _changed(f"{kind}{key}", base.get(key), head.get(key))
