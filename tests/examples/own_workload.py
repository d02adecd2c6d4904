"""A small perceptron on the iris data: an example of a user's workload."""

from functools import partial

import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris

from loopmark import Batches, Task
from loopmark.loops.goal import accuracy


def make_task(device: torch.device, batch_size: int, seed: int) -> Task:
    features, kinds = (torch.tensor(table, device=device) for table in load_iris(return_X_y=True))
    features = features.float()
    held_out = torch.arange(len(kinds)) % 5 == 0
    model = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    return Task(
        model=model.to(device),
        loss_fn=F.cross_entropy,
        make_optimizer=partial(torch.optim.AdamW, lr=1e-2),
        batches=Batches(features[~held_out], kinds[~held_out], batch_size=batch_size, seed=seed),
        goal=accuracy(features[held_out], kinds[held_out], target=0.9),
    )
