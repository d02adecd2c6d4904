"""A small task that runs as it is. Put your own training in its place, one argument after another."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from loopmark import Batches, Task


def make_task(device, batch_size=64, seed=0):
    inputs = torch.randn(4096, 64, device=device)
    targets = inputs.sin().sum(1, keepdim=True)
    return Task(
        model=nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 1)).to(device),
        loss_fn=F.mse_loss,  # of predictions and targets; None if the model computes its loss
        make_optimizer=partial(torch.optim.AdamW, lr=1e-3),
        # make_scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10_000),
        batches=Batches(inputs, targets, batch_size=batch_size, seed=seed),  # or a DataLoader, or any list
    )
