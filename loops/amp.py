"""Automatic mixed precision: matrix products and convolutions in 16 bits, master weights in float32.

One step serves both types: float16's small gradients must be scaled up; bfloat16 has float32's range, so its scaler
does nothing. See https://docs.pytorch.org/docs/stable/amp.html.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from loopmark.loops.task import Task
from loopmark.loops.technique import Technique


class CountingGradScaler(torch.amp.GradScaler):
    """A gradient scaler that counts the steps it skips, on the device, without a synchronisation."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device.type)
        self.skipped = torch.zeros((), device=device)

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> float | None:
        """Step unless a gradient is infinite, as the base class does, and leave no invalid momentum after a skip.

        Fused SGD creates its momentum buffers in the first step. If that step is skipped on the device, they stay
        uninitialised, and the next step would use them as momentum (torch 2.13 and before).
        """
        first = not optimizer.state
        result = super().step(optimizer, *args, **kwargs)
        if first:
            skipped = sum(self._per_optimizer_states[id(optimizer)]["found_inf_per_device"].values()) > 0  # ()
            for state in optimizer.state.values():
                if state.get("momentum_buffer") is not None:
                    state["momentum_buffer"].masked_fill_(skipped, 0)
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adjust the scale as the base class does, after counting a skipped step."""
        for state in self._per_optimizer_states.values():
            for found_inf in state["found_inf_per_device"].values():
                self.skipped += found_inf
        super().update(new_scale)


def step(task: Task, inputs: Any, targets: Any) -> Iterator[str]:
    """The canonical step under autocast, with a scaled loss where the type needs it."""
    task.optimizer.zero_grad(set_to_none=True)
    yield "zero_grad"
    with task.autocast:  # instead of float32 throughout; closed before the yield, else it stays on in the caller
        predictions = task.model(inputs)
    yield "forward"
    with task.autocast:
        loss = task.loss_fn(predictions, targets)  # ()
    yield "loss"
    task.scaler.scale(loss).backward()  # instead of loss.backward()
    yield "backward"
    task.scaler.step(task.optimizer)  # instead of task.optimizer.step(): a step with an infinite gradient is skipped
    task.scaler.update()
    yield "optimizer"
    task.last_loss = loss.detach()


class NotingAutocast(torch.autocast):
    """An autocast that notes whether it was entered."""

    entered = False

    def __enter__(self) -> Any:
        self.entered = True
        return super().__enter__()  # type: ignore[no-untyped-call]


def _prepare_bf16(task: Task) -> None:
    task.autocast = NotingAutocast(task.device.type, dtype=torch.bfloat16)


def _prepare_fp16(task: Task) -> None:
    task.autocast = NotingAutocast(task.device.type, dtype=torch.float16)
    task.scaler = CountingGradScaler(task.device)


def _used_autocast(task: Task) -> str | None:
    entered = getattr(task.autocast, "entered", True)
    return None if entered else "write `with task.autocast:` around the model's call and the loss"


def _used_scaler(task: Task) -> str | None:
    scaled = not task.scaler.is_enabled() or task.scaler._scale is not None
    lines = (
        "write `task.scaler.scale(loss).backward()` instead of `loss.backward()`, "
        "`task.scaler.unscale_(task.optimizer)` before clipping, and `task.scaler.step(task.optimizer); "
        "task.scaler.update()` instead of `task.optimizer.step()`"
    )
    return "; ".join(filter(None, (_used_autocast(task), None if scaled else lines))) or None


def _lacks_bf16(device: torch.device) -> str | None:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "amp_bf16 needs bfloat16 units (compute capability 8.0); this device has none"
    return None


AUTOCAST = 'with torch.autocast("{device}", dtype=torch.TYPE):  # the model and the loss'

amp_bf16 = Technique(
    "amp_bf16",
    "autocast to bfloat16",
    rank=20,
    prepare=_prepare_bf16,
    step=step,
    used=_used_autocast,
    code=AUTOCAST.replace("TYPE", "bfloat16"),
    lacks=_lacks_bf16,
    excludes=frozenset({"amp_fp16"}),
)
amp_fp16 = Technique(
    "amp_fp16",
    "autocast to float16 with a gradient scaler; skipped steps are counted",
    rank=20,
    prepare=_prepare_fp16,
    step=step,
    used=_used_scaler,
    code=AUTOCAST.replace("TYPE", "float16") + "; scaler = torch.amp.GradScaler()",
    excludes=frozenset({"amp_bf16"}),
)
