"""The tests that `make test-gpu` leaves to `make test-gpu-all`, listed without a GPU."""

from pathlib import Path

import pytest

from loopmark.loops.catalog import TECHNIQUES, WORKLOADS

FILE = Path(__file__).parent / "test_on_cuda.py"


def collected(expression: str) -> set[str]:
    """The ids of the tests for CUDA that pytest selects by ``expression``."""
    seen = Seen()
    pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-m", expression, str(FILE)], plugins=[seen])
    return seen.ids


class Seen:
    def __init__(self) -> None:
        self.ids: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.ids = {item.name for item in session.items}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_short_set_has_each_technique_once_on_each_workload(workload: str) -> None:
    short = collected("cuda and not long")
    trained = "test_every_loop_starts_to_train_every_workload_as_eager_does"
    assert {f"{trained}[{name}-{workload}-small]" for name in TECHNIQUES} <= short
    large = "test_a_large_models_first_loss_is_that_of_the_same_model_in_eager"
    assert {f"{large}[{name}-{workload}]" for name in ("eager", "amp_bf16", "compile", "cuda_graph")} <= short


def test_what_the_short_set_leaves_out_is_in_the_whole_one() -> None:
    short, rest, whole = map(collected, ("cuda and not long", "cuda and long", "cuda"))
    assert short | rest == whole
    assert not short & rest
    assert len(short) < len(whole) / 2
