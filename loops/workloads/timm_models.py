"""Any model of timm with random weights, on noise around one example a class: ``timm:resnet18``."""

from functools import partial

import timm
import torch
import torch.nn.functional as F

from loopmark.loops.task import Batches, Task
from loopmark.loops.workload import Workload
from loopmark.loops.workloads.extras import CLASSES, examples, repeated_blocks

names = timm.list_models


def find(name: str) -> Workload | None:
    """The workload of the model ``name``; None for an unknown one."""
    small, large = (partial(_make_task, name, is_small) for is_small in (True, False))
    found = Workload(f"timm:{name}", f"timm's {name}", {"small": (small, 8), "large": (large, 64)}, "timm")
    return found if timm.is_model(name) else None


def _make_task(name: str, small: bool, device: torch.device, batch_size: int, seed: int) -> Task:
    """Images (N, C, H, W) of the model's own size; small ones are 64×64 where the model takes any size."""
    model = timm.create_model(name, pretrained=False, num_classes=CLASSES).to(device)
    channels, *sides = model.default_cfg["input_size"]
    sides = [64, 64] if small and not model.default_cfg.get("fixed_input_size") else sides
    draw = torch.Generator().manual_seed(seed)
    classes = torch.randint(CLASSES, (4 * batch_size,), generator=draw)
    images = examples(classes, (channels, *sides), draw).to(device)
    return Task(
        model,
        F.cross_entropy,
        partial(torch.optim.AdamW, lr=1e-3),
        Batches(images, classes.to(device), batch_size=batch_size, seed=seed),
        blocks=repeated_blocks(model),
    )
