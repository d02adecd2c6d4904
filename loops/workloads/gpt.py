"""A causal transformer on the bytes of English text included in every Python (``pydoc_data.topics``).

The blocks are pre-norm, as in GPT-2: Radford and others, "Language Models are Unsupervised Multitask Learners", 2019.
The text is the language reference, so it differs slightly between versions of Python; the data's hash shows this. Its
last twentieth is held out.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopmark.loops.goal import at_the_end, bits_per_byte
from loopmark.loops.task import Batches, Task
from loopmark.loops.workload import Workload

HELD_OUT, TARGET = 0.05, 3.8


@dataclass(frozen=True)
class Shape:
    """The size of a transformer."""

    layers: int
    heads: int
    width: int
    context: int  # bytes that the model sees, T
    vocabulary: int  # rows of the embedding; a byte needs 256
    learning_rate: float  # a small model tolerates a higher rate, and needs it to learn in few steps


SMALL = Shape(layers=2, heads=4, width=64, context=64, vocabulary=256, learning_rate=2e-3)
GPT2_SMALL = Shape(layers=12, heads=12, width=768, context=1024, vocabulary=50304, learning_rate=6e-4)
"""GPT-2 small's shape, with its vocabulary of 50257 rounded up to a multiple of 64; bytes use the first 256 rows. The
learning rate is the one for this shape in Brown and others, "Language Models are Few-Shot Learners", 2020."""


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each on normalised input and added to that input: (N, T, width) to the same shape."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention_norm = nn.LayerNorm(shape.width)
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.projection = nn.Linear(shape.width, shape.width)
        self.mlp_norm = nn.LayerNorm(shape.width)
        self.mlp = nn.Sequential(
            nn.Linear(shape.width, 4 * shape.width),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * shape.width, shape.width),
        )

    def forward(self, x: Tensor) -> Tensor:
        rows, time, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(rows, time, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (N, heads, T, width / heads)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(seen.transpose(1, 2).reshape(rows, time, width))
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class GPT(nn.Module):
    """Bytes (N, T), int64, to logits of the next byte (N, T, vocabulary). The embedding is also the output layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.bytes = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Parameter(torch.zeros(shape.context, shape.width))
        self.blocks = nn.Sequential(*(TransformerBlock(shape) for _ in range(shape.layers)))
        self.norm = nn.LayerNorm(shape.width)
        self.output = nn.Linear(shape.width, shape.vocabulary, bias=False)
        self.output.weight = self.bytes.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # Residual branches start smaller, so that the sum over the layers starts at unit scale.
                into_residual = name.endswith(("projection.weight", "mlp.2.weight"))
                deviation = 0.02 / (2 * shape.layers) ** 0.5 if into_residual else 0.02
                nn.init.normal_(parameter, std=deviation)

    def forward(self, text: Tensor) -> Tensor:
        x = self.bytes(text) + self.positions[: text.shape[1]]  # (N, T, width)
        return self.output(self.norm(self.blocks(x)))  # type: ignore[no-any-return]


def text_windows(context: int) -> tuple[Tensor, Tensor]:
    """The text cut into windows: bytes (N, context) and each one's next byte (N, context), int64."""
    from pydoc_data.topics import topics

    topics_in_order = "\n\n".join(topics[name] for name in sorted(topics))
    # Topics repeat paragraphs. Each is kept once; else held-out text would occur in the training text.
    text = "\n\n".join(dict.fromkeys(topics_in_order.split("\n\n"))).encode()
    windows = torch.frombuffer(bytearray(text), dtype=torch.uint8).long().unfold(0, context + 1, context)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def next_byte_loss(logits: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy of the next byte, in nats: logits (N, T, vocabulary), bytes (N, T), to ()."""
    return F.cross_entropy(logits.flatten(0, 1), following.flatten())


def make_task(device: torch.device, batch_size: int, seed: int, shape: Shape = SMALL) -> Task:
    """A transformer of ``shape``, trained by AdamW; a sample is one window of ``shape.context`` bytes."""
    model = GPT(shape).to(device)
    data = at_the_end(*text_windows(shape.context), HELD_OUT).to(device)
    return Task(
        model=model,
        loss_fn=next_byte_loss,
        make_optimizer=partial(torch.optim.AdamW, lr=shape.learning_rate, betas=(0.9, 0.95)),
        batches=Batches(data.inputs, data.targets, batch_size=batch_size, seed=seed),
        blocks=tuple(model.blocks),
        goal=bits_per_byte(data.held_inputs, data.held_targets, TARGET),
    )


gpt = Workload(
    "gpt",
    "a causal transformer on the bytes of Python's own documentation; large: GPT-2 small's shape",
    {"small": (make_task, 16), "large": (partial(make_task, shape=GPT2_SMALL), 8)},
    data="pydoc_data.topics",
)
