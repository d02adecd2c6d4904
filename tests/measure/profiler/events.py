"""A hand-written Chrome trace, in microseconds, in the layout of torch.profiler with CUPTI."""

from typing import Any

MAIN, AUTOGRAD, STREAM = 100, 200, 7


def event(category: str, name: str, begin: float, end: float, thread: int = MAIN, **arguments: int) -> dict[str, Any]:
    return {
        "ph": "X", "cat": category, "name": name, "pid": 1, "tid": thread, "ts": begin, "dur": end - begin,
        "args": {key.replace("_", " "): value for key, value in arguments.items()},
    }  # fmt: skip


def annotation(name: str, begin: float, end: float, thread: int = MAIN) -> dict[str, Any]:
    return event("user_annotation", name, begin, end, thread)


def operator(name: str, begin: float, end: float, thread: int = MAIN, number: int = 0) -> dict[str, Any]:
    return event("cpu_op", name, begin, end, thread, External_id=number)


def launch(correlation: int, at: float, thread: int = MAIN) -> dict[str, Any]:
    return event("cuda_runtime", "cudaLaunchKernel", at, at + 2, thread, correlation=correlation)


def kernel(name: str, begin: float, end: float, correlation: int = 0, number: int = 0) -> dict[str, Any]:
    return event("kernel", name, begin, end, STREAM, correlation=correlation, External_id=number)


def step(at: float = 0) -> list[dict[str, Any]]:
    """One step of 100 µs on the host: forward 10 to 40, backward 50 to 80."""
    return [
        annotation("step", at, at + 100),
        annotation("forward", at + 10, at + 40),
        annotation("backward", at + 50, at + 80),
    ]
