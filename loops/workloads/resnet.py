"""Residual networks on scikit-learn's handwritten digits (1797 images of 8×8).

Small: three basic blocks on the original images. Large: ResNet-50 on images resized to 224×224, with three equal
channels. He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015; in ResNet-50 the stride is in
the 3×3 convolution, as is usual since then. A fifth of the images is held out.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopmark.loops.goal import Split, accuracy, at_random
from loopmark.loops.task import Batches, Task
from loopmark.loops.workload import Workload

HELD_OUT, TARGET = 0.2, 0.97


class Residual(nn.Module):
    """``body`` and a shortcut around it: (N, channels, H, W) to (N, out_channels, H / stride, W / stride)."""

    def __init__(self, body: nn.Module, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.body = body
        same = stride == 1 and channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(channels, out_channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class BasicBlock(Residual):
    """Two 3×3 convolutions and a shortcut, ``width`` channels out."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        body = nn.Sequential(*_convolution(channels, width, 3, stride), nn.ReLU(), *_convolution(width, width, 3))
        super().__init__(body, channels, width, stride)


class Bottleneck(Residual):
    """1×1, 3×3, 1×1 convolutions and a shortcut, 4 ``width`` channels out."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        narrow, middle = _convolution(channels, width, 1), _convolution(width, width, 3, stride)
        body = nn.Sequential(*narrow, nn.ReLU(), *middle, nn.ReLU(), *_convolution(width, 4 * width, 1))
        super().__init__(body, channels, 4 * width, stride)


class ResNet(nn.Module):
    """A stem, stages of residual blocks, global average pooling, a linear classifier: (N, C, H, W) to (N, 10)."""

    def __init__(
        self,
        stem: nn.Module,
        channels: int,
        block: type[BasicBlock] | type[Bottleneck],
        widths: Sequence[int],
        depths: Sequence[int],
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(block(channels, width, stride))
                channels = width * block.expansion
        self.stem, self.blocks = stem, nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = self.blocks(self.stem(x))  # (N, C, H, W)
        return self.classifier(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def small_resnet() -> ResNet:
    """78 thousand parameters, for 8×8 images of one channel."""
    stem = nn.Sequential(*_convolution(1, 16, 3), nn.ReLU())
    return ResNet(stem, 16, BasicBlock, (16, 32, 64), (1, 1, 1))


def resnet50() -> ResNet:
    """ResNet-50 for ten classes, for 224×224 images of three channels."""
    stem = nn.Sequential(nn.Sequential(*_convolution(3, 64, 7, 2), nn.ReLU()), nn.MaxPool2d(3, stride=2, padding=1))
    return ResNet(stem, 64, Bottleneck, (64, 128, 256, 512), (3, 4, 6, 3))


def digits() -> Split:
    """Images (N, 1, 8, 8), float32, and their digits (N,), int64: 1,438 to train on, 359 held out.

    Over the training images, pixels have mean 0 and deviation 1.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    split = at_random(torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels), HELD_OUT)
    mean, deviation = split.inputs.mean(), split.inputs.std()
    return split._replace(inputs=(split.inputs - mean) / deviation, held_inputs=(split.held_inputs - mean) / deviation)


def make_small_task(device: torch.device, batch_size: int, seed: int) -> Task:
    """The small residual network on 8×8 digits, trained by SGD with momentum."""
    return _task(small_resnet(), digits().to(device), batch_size, seed)


def make_large_task(device: torch.device, batch_size: int, seed: int) -> Task:
    """ResNet-50 on digits resized to 224×224, trained by SGD with momentum; the images take 1.1 GB."""
    small = digits().to(device)
    data = small._replace(inputs=_resized(small.inputs), held_inputs=_resized(small.held_inputs))
    return _task(resnet50(), data, batch_size, seed)


def _task(model: ResNet, data: Split, batch_size: int, seed: int) -> Task:
    return Task(
        model=model.to(data.inputs.device),
        loss_fn=F.cross_entropy,
        make_optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=5e-4),
        batches=Batches(data.inputs, data.targets, batch_size=batch_size, seed=seed),
        blocks=tuple(model.blocks),
        goal=accuracy(data.held_inputs, data.held_targets, TARGET),
    )


def _resized(images: Tensor) -> Tensor:
    return F.interpolate(images, size=(224, 224), mode="bilinear").repeat(1, 3, 1, 1)


def _convolution(channels: int, width: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A convolution that keeps the image's size, divided by ``stride``, and its batch normalisation."""
    convolution = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(width)


resnet = Workload(
    "resnet",
    "a residual network on handwritten digits; large: ResNet-50 at 224×224",
    {"small": (make_small_task, 64), "large": (make_large_task, 64)},
    data="sklearn.datasets",
)
