"""Linear regression and a small perceptron on scikit-learn's diabetes data (442 patients, 10 features).

Efron, Hastie, Johnstone and Tibshirani, "Least Angle Regression", Annals of Statistics 2004.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loops.task import Batches, Task
from loops.workload import Workload


def standardised_diabetes() -> tuple[Tensor, Tensor]:
    """Features (442, 10) and disease progression (442, 1), each column with mean 0 and deviation 1, float32."""
    from sklearn.datasets import load_diabetes

    features, progression = load_diabetes(return_X_y=True)
    columns = torch.tensor(features), torch.tensor(progression)[:, None]
    inputs, targets = ((c - c.mean(0)) / c.std(0) for c in columns)
    return inputs.float(), targets.float()


def make_linear_task(device: torch.device, batch_size: int, seed: int) -> Task:
    """One linear layer, (N, 10) to (N, 1), trained by SGD."""
    return _task(nn.Linear(10, 1), partial(torch.optim.SGD, lr=0.01), device, batch_size, seed)


def make_mlp_task(device: torch.device, batch_size: int, seed: int, width: int = 256) -> Task:
    """Two hidden layers of ``width``, (N, 10) to (N, 1), trained by AdamW."""
    model = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
    return _task(model, partial(torch.optim.AdamW, lr=1e-3), device, batch_size, seed)


def _task(
    model: nn.Module,
    make_optimizer: Callable[..., torch.optim.Optimizer],
    device: torch.device,
    batch_size: int,
    seed: int,
) -> Task:
    inputs, targets = (tensor.to(device) for tensor in standardised_diabetes())
    return Task(
        model=model.to(device),
        loss_fn=F.mse_loss,
        make_optimizer=make_optimizer,
        batches=Batches(inputs, targets, batch_size=batch_size, seed=seed),
    )


regression = Workload(
    "regression",
    "a linear model on the diabetes data",
    {"small": (make_linear_task, 64), "large": (make_linear_task, 442)},
    data="sklearn.datasets",
)
regression_mlp = Workload(
    "regression_mlp",
    "a perceptron with two hidden layers on the diabetes data",
    {"small": (make_mlp_task, 64), "large": (partial(make_mlp_task, width=4096), 442)},
    data="sklearn.datasets",
)
