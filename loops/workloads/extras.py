"""Workloads of packages that an extra installs, such as ``hf:bert``. A package is imported when it is asked for."""

import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from loopmark.loops.user_code import BadSpec
from loopmark.loops.workload import Workload

CLASSES = 10
EXTRAS = {  # by prefix, which is also the name of Loopmark's extra: the package and the summary
    "hf": ("transformers", "any model of transformers by its type or class, as in hf:bert or hf:LlamaForCausalLM"),
    "timm": ("timm", "any model of timm by its name, as in timm:resnet18"),
}


def lacks(prefix: str) -> str | None:
    """The package that this Python lacks, and the command that installs it, as a clause; None if it is there."""
    if importlib.util.find_spec(EXTRAS[prefix][0]) is not None:
        return None
    # The version keeps this torch: pip would replace it by the one that the newest torchvision needs.
    same_torch = f" torch=={torch.__version__.partition('+')[0]}" if prefix == "timm" else ""
    return f"needs {EXTRAS[prefix][0]}: pip install 'loopmark[{prefix}]'{same_torch}"


def find(name: str) -> tuple[Workload | None, Callable[[], Iterable[str]]]:
    """The workload ``name``, None for an unknown model, and the function that lists the package's models.

    Raises BadSpec where the package is missing or cannot be imported.
    """
    prefix, _, model = name.partition(":")
    if reason := lacks(prefix):
        raise BadSpec(f"{name} {reason}")
    try:
        module: Any = importlib.import_module(f"{__package__}.{EXTRAS[prefix][0]}_models")
        return module.find(model), module.names
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # transformers wraps the error of a lazy import
            cause = cause.__cause__
        said = f"{name}: {EXTRAS[prefix][0]} cannot be imported: {type(cause).__name__}: {cause}"
        if "torchvision" in said:
            said += f"; this torchvision was not built for torch {torch.__version__}: install both from one index"
        raise BadSpec(said) from error


def examples(labels: Tensor, shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Noise around one fixed example for each of the CLASSES: labels (N,) to float32 (N, *shape)."""
    centres = torch.randn(CLASSES, *shape, generator=torch.Generator().manual_seed(0))
    return centres[labels] + torch.randn(len(labels), *shape, generator=draw)


def repeated_blocks(model: nn.Module) -> tuple[nn.Module, ...]:
    """The model's layers: the members of each outermost list of modules of one class, if it is not torch's."""
    children = tuple(model.children())
    is_list = isinstance(model, nn.ModuleList | nn.Sequential) and len({type(child) for child in children}) == 1
    if is_list and len(children) > 1 and not type(children[0]).__module__.startswith("torch."):
        return children
    return tuple(block for child in children for block in repeated_blocks(child))
