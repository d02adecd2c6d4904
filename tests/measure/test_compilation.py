"""The facts of torch.compile, from graphs that torch traces but does not compile any further, which takes a moment."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from loopmark.bench.measure.compilation import CompilationLog, _cause
from loopmark.bench.records.run import Compilation

HERE = Path(__file__).name
ROWS = torch.ones(4, 8)


class Layer(nn.Module):
    def __init__(self, *, says: bool = False) -> None:
        super().__init__()
        self.linear, self.says = nn.Linear(8, 8), says

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.linear(x))
        if self.says:
            print("", end="")  # ends a graph
        return x * 2


class Disabled(Layer):
    @torch.compiler.disable
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Looping(Layer):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            print("", end="")  # torch gives up a loop with a break in it
            x = x * 2
        return x


@pytest.fixture(autouse=True)
def _compiled_code_is_forgotten() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def step_of(model: nn.Module, *batches: Tensor, **options: bool) -> Callable[[], None]:
    """A step of the compiled model, on each of ``batches`` in turn."""
    compiled, left = torch.compile(model, backend="eager", **options), list(batches or [ROWS])

    def take_step() -> None:
        left.append(batch := left.pop(0))
        compiled(batch)

    return take_step


def found(model: nn.Module, *batches: Tensor, steps: int = 3, **options: bool) -> Compilation:
    log, take_step = CompilationLog(), step_of(model, *batches, **options)
    for _ in range(steps):
        take_step()
    log.end_warm_up()
    return log.found(model, take_step)


def test_a_model_without_a_break_is_one_graph_compiled_once() -> None:
    whole = found(Layer())
    assert (whole.compiled, whole.again, whole.late, whole.graphs_per_step) == (1, 0, 0, 1)
    assert (whole.breaks, whole.limit_reached, whole.again_because) == ((), None, None)
    assert whole.seconds > whole.again_seconds == 0


def test_a_break_is_named_by_the_persons_line_and_torchs_reason() -> None:
    (broken,) = found(Layer(says=True)).breaks
    line = 1 + Path(__file__).read_text().splitlines().index('            print("", end="")  # ends a graph')
    assert broken.place.endswith(f"{HERE}:{line}")
    assert "`print`" in broken.reason
    assert "\n" not in broken.reason


def test_graphs_are_counted_as_often_as_a_step_calls_them() -> None:
    layers = nn.Sequential(*(Layer(says=True) for _ in range(3)))
    several = found(layers)
    assert several.graphs_per_step == 6
    assert len(several.breaks) == 1


@pytest.mark.parametrize(("model", "names"), [(Disabled(), "torch.compiler.disable"), (Looping(), "`print`")])
def test_a_model_that_torch_leaves_alone_is_not_compiled_and_the_place_says_why(model: nn.Module, names: str) -> None:
    log = CompilationLog()
    nothing = found(model)
    assert (nothing.compiled, nothing.graphs_per_step) == (0, 0)
    assert nothing.seconds > 0  # spent in vain
    assert log.cache_state() == "none"
    assert HERE in nothing.breaks[0].place
    assert names in nothing.breaks[0].reason
    assert " at 0x" not in nothing.breaks[0].reason


def test_the_place_of_a_reason_has_no_path_that_torch_has_cut() -> None:
    assert _cause("0/1: a == 3  # x = a.item()  # ers/me/train.py:23 in forward") == "a == 3 at train.py:23"


def test_compiling_again_is_counted_with_its_cost_and_torchs_reason_until_the_limit() -> None:
    lengths = [torch.ones(rows, 8) for rows in (2, 3, 4, 5)]
    with torch._dynamo.config.patch(recompile_limit=2):
        limited = found(Layer(), *lengths, steps=4, dynamic=False)
    assert (limited.compiled, limited.again, limited.limit_reached) == (2, 1, "recompile_limit=2")
    assert limited.seconds > limited.again_seconds > 0
    assert limited.again_because == "tensor 'x' size mismatch at index 0. expected 2, actual 3"
    assert limited.graphs_per_step is not None
    assert 0 < limited.graphs_per_step < 1  # half of the steps find their graph


def test_graphs_compiled_after_the_warm_up_are_late() -> None:
    log, model = CompilationLog(), Layer()
    take_step = step_of(model, torch.ones(2, 8), torch.ones(3, 8), dynamic=False)
    take_step()
    log.end_warm_up()
    take_step()
    assert log.found(model, None).late == 1


def test_a_torch_that_keeps_other_records_leaves_facts_unknown_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("get_compilation_metrics", "set_compilation_metrics_limit"):
        monkeypatch.delattr(torch._dynamo.utils, name)
    unknown = found(Layer(says=True))
    assert (unknown.compiled, unknown.again, unknown.graphs_per_step, unknown.breaks) == (2, None, None, ())


def test_a_step_that_cannot_be_profiled_leaves_its_graphs_unknown() -> None:
    log, model = CompilationLog(), Layer()
    step_of(model)()

    def refuses() -> None:
        raise RuntimeError("another profiler is active")

    assert log.found(model, refuses).graphs_per_step is None


def test_code_that_was_never_compiled_has_nothing_to_say() -> None:
    log = CompilationLog()
    Layer()(ROWS)
    assert (log.seconds(), log.graphs(), log.cache_state()) == (0, 0, "none")
