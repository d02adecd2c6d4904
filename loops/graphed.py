"""Steps that are captured as CUDA graphs: a few ordinary ones first, then one capture, then a replay for every batch.

The recipe is the one in torch's notes (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs): warm up
on a side stream, copy each batch into static tensors, capture, replay.
"""

import torch
from torch import Tensor

from loopmark.loops.errors import Skip
from loopmark.loops.task import Task
from loopmark.loops.technique import Driver, Step

WARMUP_STEPS = 3
"""Ordinary steps before capture, as torch's notes ask for; they are real training steps, one a batch."""


class Graphed(Driver):
    """What all such drivers share; they differ in what they capture, and how it is replayed."""

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.side: torch.cuda.Stream | None = None
        self.names: tuple[str, ...] = ()
        """What the step yielded, in order, once it has run."""
        self._calls = 0
        self._captured = False

    def __call__(self, task: Task, inputs: Tensor, targets: Tensor) -> None:
        """Copy the batch in and replay; the first calls run the step itself, and the next one captures it."""
        self.copy_in(inputs, targets)
        with torch.cuda.device(task.device):  # streams and graphs are made on the current device
            if self._calls < WARMUP_STEPS:
                self._run_aside(task)
            else:
                if not self._captured:
                    # Gradients must be made inside the graph's own memory pool, so none may be left from before.
                    task.optimizer.zero_grad(set_to_none=True)
                    self.capture(task)
                    self._captured = True
                self.replay()
        self._calls += 1

    @property
    def captured(self) -> bool:
        """Whether a call replays what was captured."""
        return self._captured

    def capture(self, task: Task) -> None:
        """Capture a step on the static batch."""
        raise NotImplementedError

    def replay(self) -> None:
        """Launch what was captured."""
        raise NotImplementedError

    def copy_in(self, inputs: Tensor, targets: Tensor) -> None:
        """Put a batch where the captured step reads it. Raises Skip for one of another shape."""
        if self._calls == 0:
            self.inputs, self.targets = inputs.clone(), targets.clone()
        if inputs.shape != self.inputs.shape or targets.shape != self.targets.shape:
            # Not left to copy_, which would spread a batch of one row over all of the old ones.
            raise Skip(
                f"a CUDA graph needs batches of one shape; after {tuple(self.inputs.shape)} came "
                f"{tuple(inputs.shape)}: drop an epoch's last, smaller batch"
            )
        self.inputs.copy_(inputs)
        self.targets.copy_(targets)

    def _run_aside(self, task: Task) -> None:
        side = self.side = self.side or torch.cuda.Stream()  # one: the allocator keeps a pool for each stream
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.names = tuple(self.step(task, self.inputs, self.targets))
        torch.cuda.current_stream().wait_stream(side)


def prepare_capture(task: Task) -> None:
    """Have the optimizer decide on the device. Raises Skip where it cannot."""
    if task.optimizer_takes("capturable"):
        task.optimizer_options["capturable"] = True
    if task.scaler.is_enabled() and not task.optimizer_options.get("fused"):
        raise Skip(
            "a CUDA graph cannot capture amp_fp16's GradScaler, which asks the device whether to skip the step; "
            "a fused optimizer decides on the device: add fused_optimizer"
        )
