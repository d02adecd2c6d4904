"""Tasks for comparing loops: the shipped ones, a small one to modify, and models that are hard to compare."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from loopmark.loops.catalog import WORKLOADS
from loopmark.loops.task import Batches, Task
from tests.measure.proof.proofs import MakeTask
from tests.support.tiny import CPU


@cache
def workload(name: str, seed: int = 0) -> MakeTask:
    return partial(WORKLOADS[name].make, CPU, "small", None, seed)


def regressing(model: Callable[[], nn.Module], seed: int = 0, **differences: Any) -> MakeTask:
    """A task of 10 numbers to 1 (N, 10) to (N, 1), trained by AdamW."""

    def make() -> Task:
        torch.manual_seed(seed)
        inputs = torch.randn(256, 10)
        targets = (2 * inputs[:, :1] - inputs[:, 1:2]).sin() + 0.1 * torch.randn(256, 1)
        usual: dict[str, Any] = {
            "loss_fn": F.mse_loss,
            "make_optimizer": partial(torch.optim.AdamW, lr=1e-2),
            "batches": Batches(inputs, targets, batch_size=32, seed=seed),
        }
        return Task(model(), **{**usual, **differences})

    return make


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))


class Partly(nn.Module):
    """Some parameters are frozen or unused; one buffer is an integer, and one never changes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(10, 32), nn.Linear(32, 1)
        self.first.bias.requires_grad_(False)
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mask", torch.ones(10))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.last(torch.relu(self.first(x * self.mask)))


class Insists(nn.Module):
    """Requires float32, so that no step of it can be taken in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = perceptron()

    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        return self.layers(x)


class Attends(nn.Module):
    """The gradient of the keys' bias is pure rounding, since the bias adds the same value to every score."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(2, 8), nn.Linear(2, 8), nn.Linear(2, 8)
        self.out = nn.Linear(40, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 1, 5, 2)
        return self.out(F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x)).flatten(1))


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8, sparse=True)
        self.out = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.table(x.mul(5).long().clamp(-9, 9) + 10).mean(1))


class Momentum(torch.optim.Optimizer):
    """A user's own optimizer."""

    def __init__(self, parameters: Any, lr: float = 0.01, betas: tuple[float, float] = (0.9, 0.99), eps: float = 1e-8):
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                slot = self.state[parameter]
                if not slot:
                    slot |= {"mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter), "steps": 0}
                slot["steps"] += 1
                slot["mean"].lerp_(parameter.grad, 1 - group["betas"][0])
                slot["square"].lerp_(parameter.grad.square(), 1 - group["betas"][1])
                parameter.addcdiv_(slot["mean"], slot["square"].sqrt() + group["eps"], value=-group["lr"])


class Last(nn.Module):
    """A recurrent layer's last state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(2, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0][:, -1]


def ragged() -> DataLoader:
    """The last batch has 2 rows, and the others have 16."""
    inputs = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(inputs, inputs[:, :1]), batch_size=16)


def noisy() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 1))


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16, momentum=None), nn.ReLU(), nn.Linear(16, 1))
