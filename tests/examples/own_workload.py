"""A workload of one's own: iris flowers told apart by a small perceptron."""

from functools import partial

import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris

from loops.task import Batches, Task


def make_task(device: torch.device, batch_size: int, seed: int) -> Task:
    features, kinds = load_iris(return_X_y=True)
    model = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    return Task(
        model=model.to(device),
        loss_fn=F.cross_entropy,
        make_optimizer=partial(torch.optim.AdamW, lr=1e-2),
        batches=Batches(
            torch.tensor(features, dtype=torch.float32, device=device),
            torch.tensor(kinds, device=device),
            batch_size=batch_size,
            seed=seed,
        ),
    )
