"""Linear regression and a small perceptron on scikit-learn's diabetes data (442 patients, 10 features).

A fifth of the patients is held out. The linear model's target is near the quality of least squares on them. The
perceptron's target is lower, since it overfits after a few epochs.

Efron, Hastie, Johnstone and Tibshirani, "Least Angle Regression", Annals of Statistics 2004.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from loopmark.loops.goal import Split, at_random, r_squared
from loopmark.loops.task import Batches, Task
from loopmark.loops.workload import Workload

HELD_OUT = 0.2


def standardised_diabetes() -> Split:
    """Features (N, 10) and disease progression (N, 1), float32: 354 patients to train on, 88 held out.

    Each column has mean 0 and deviation 1 over the training patients.
    """
    from sklearn.datasets import load_diabetes

    features, progression = load_diabetes(return_X_y=True)
    split = at_random(torch.tensor(features), torch.tensor(progression)[:, None], HELD_OUT)
    rulers = (split.inputs, split.targets) * 2  # held-out rows are scaled by the training rows
    return Split(*(((rows - by.mean(0)) / by.std(0)).float() for rows, by in zip(split, rulers, strict=True)))


def make_linear_task(device: torch.device, batch_size: int, seed: int) -> Task:
    """One linear layer, (N, 10) to (N, 1), trained by SGD."""
    data = standardised_diabetes().to(device)
    return _task(nn.Linear(10, 1), partial(SGD, lr=0.01), 0.45, data, batch_size, seed)


def make_mlp_task(device: torch.device, batch_size: int, seed: int, width: int = 256, lr: float = 2e-5) -> Task:
    """Two hidden layers of ``width``, (N, 10) to (N, 1), trained by AdamW.

    The rate is low, so that the target takes some 240 steps: with few, the first ones would decide the time.
    """
    model = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
    return _task(model, partial(AdamW, lr=lr), 0.42, standardised_diabetes().to(device), batch_size, seed)


def _task(
    model: nn.Module, make_optimizer: Callable[..., Optimizer], target: float, data: Split, batch_size: int, seed: int
) -> Task:
    return Task(
        model=model.to(data.inputs.device),
        loss_fn=F.mse_loss,
        make_optimizer=make_optimizer,
        batches=Batches(data.inputs, data.targets, batch_size=batch_size, seed=seed),
        goal=r_squared(data.held_inputs, data.held_targets, target),
    )


regression = Workload(
    "regression",
    "a linear model on the diabetes data",
    {"small": (make_linear_task, 64), "large": (make_linear_task, 354)},
    data="sklearn.datasets",
)
regression_mlp = Workload(
    "regression_mlp",
    "a perceptron with two hidden layers on the diabetes data",
    {"small": (make_mlp_task, 64), "large": (partial(make_mlp_task, width=4096, lr=3e-7), 354)},
    data="sklearn.datasets",
)
