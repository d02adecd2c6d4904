"""Any model of transformers, from its configuration with random weights: ``hf:bert`` or ``hf:LlamaForCausalLM``.

Text is the text of ``gpt``; images and sounds are noise around one example a class. Large is the default configuration;
small has short inputs, two layers, and its widths divided by a power of two. Dropout stays as it is.
"""

import functools
import inspect
import re
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.models.auto import modeling_auto

from loopmark.loops.batch import BadBatch, loss_in, moved
from loopmark.loops.task import Task
from loopmark.loops.user_code import BadSpec
from loopmark.loops.workload import Workload
from loopmark.loops.workloads.extras import CLASSES, examples, repeated_blocks
from loopmark.loops.workloads.gpt import text_windows

HEADS = (
    *("SPEECH_SEQ_2_SEQ", "SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM", "CAUSAL_LM", "IMAGE_CLASSIFICATION", "CTC"),
    *("AUDIO_CLASSIFICATION", "VIDEO_CLASSIFICATION", "OBJECT_DETECTION", "SEMANTIC_SEGMENTATION"),
    *("SEQUENCE_CLASSIFICATION", "TOKEN_CLASSIFICATION", "QUESTION_ANSWERING", "MULTIPLE_CHOICE"),
    *("NEXT_SENTENCE_PREDICTION", "PRETRAINING"),
)
"""transformers' own tables of classes, by head. A type's head is that of the first table that lists it."""
SPECIAL, MASKED = 10, 0.15  # token ids below SPECIAL are special; BERT predicts 15 % of the tokens
FIXED = {
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0,
    # A cache is for generating text. The others draw from numpy, change the work of a step, or download.
    "use_cache": False, "apply_spec_augment": False, "layerdrop": 0.0, "use_pretrained_backbone": False,
}  # fmt: skip
LARGEST: dict[str, str | int] = {
    r"(num_|n_)?(hidden_|encoder_|decoder_)?(layers?|depths?|blocks)": "layers",
    r"d_model|d_ff|d_kv|d_inner|n_embd|n_inner|dim|(\w+_)?(hidden|embedding|intermediate|ffn|embed|head|model|lora|conv|"
    r"mlp|proj|projection|rope|nope|rotary)_(sizes?|dims?|rank|channels)": "width",
    "image_size": "image", r"vocab_size\w*": 512, r"\w+experts": 16, "max_source_positions|max_length": 64,
}  # fmt: skip
"""The settings that a small model has smaller, by their names' pattern: the largest value, or the limit's name."""
_windows = functools.cache(text_windows)


def names() -> list[str]:
    """Every model type with a head, and every class with one."""
    return [*dict.fromkeys(name for head in HEADS for pair in _classes(head).items() for name in pair)]


def find(name: str) -> Workload | None:
    """The workload of a model type or class; None for an unknown one."""
    chosen = _class_of(name)
    cls = getattr(transformers, chosen, None)
    if not (
        isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel) and getattr(cls, "config_class", None)
    ):
        return None
    head = next((head for head in HEADS if chosen in _classes(head).values()), "")
    small, large = (partial(_make_task, f"hf:{name}", cls, head, is_small) for is_small in (True, False))
    sizes: Any = {"small": (small, 8), "large": (large, 64 if "IMAGE" in head else 8)}
    return Workload(f"hf:{name}", f"transformers' {chosen}", sizes, cls.__module__)


def _classes(head: str) -> dict[str, str]:
    found = getattr(modeling_auto, f"MODEL_FOR_{head}_MAPPING_NAMES", {})
    return {kind: name if isinstance(name, str) else name[0] for kind, name in found.items()}


def _class_of(name: str) -> str:
    """The class of the model type ``name``; any other name as it is."""
    return next((classes[name] for head in HEADS if name in (classes := _classes(head))), name)


def _make_task(name: str, cls: Any, head: str, small: bool, device: torch.device, batch_size: int, seed: int) -> Task:
    """A model of ``cls``, trained by AdamW. Its batches are passed by keyword, and it computes its loss.

    Raises BadSpec where no batch that can be made up gives a loss.
    """
    transformers.logging.set_verbosity_error()  # it warns of special tokens outside a small vocabulary
    draw, batch = torch.Generator().manual_seed(seed), dict[str, Any]()
    # The width's factor, the image and the layers: some models need wider heads, larger images, or all layers.
    for limits in ((1, 64, 2), (1, 999, 2), (2, 999, 2), (4, 999, 2), (1, 999, 999)) if small else (None,):
        torch.manual_seed(seed)
        try:
            with device:
                model = cls(_config(cls.config_class, head, limits)).to(device)
            batch = moved(_batch(model, head, small, 2, draw), device, torch.contiguous_format)
            with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
                loss_in(model.eval()(**batch), model=model)
            break
        except torch.OutOfMemoryError:
            raise
        except BadBatch:
            failure = f"it has none: name a class with a head, such as hf:{_class_of(cls.config_class.model_type)}"
        except Exception as error:
            failure = f"{type(error).__name__}: {' '.join(str(error).split())[:240]}"
    else:
        usual = "self|return_dict|output_.+|use_cache|kwargs"
        takes = [key for key in inspect.signature(cls.forward).parameters if not re.fullmatch(usual, key)]
        said = f"{name}: {cls.__name__} gives no loss for made-up {', '.join(batch)}: {failure}"
        raise BadSpec(
            f"{said}; its forward takes {', '.join(takes)}: give these by a task of your own, FILE.py:make_task"
        )
    batches = [moved(_batch(model, head, small, batch_size, draw), device, torch.contiguous_format) for _ in range(4)]
    read = ("input_ids", "labels") if head in HEADS[:2] else ("input_ids",)
    counts = {"tokens": lambda batch: sum(batch[key].numel() for key in read if key in batch)}
    optimizer = partial(torch.optim.AdamW, lr=1e-3 if small else 1e-4)
    return Task(
        model.train(),
        None,
        optimizer,
        batches,
        counts=counts if {*read} & {*batch} else None,
        blocks=repeated_blocks(model),
    )


def _config(make: Any, head: str, limits: tuple[int, int, int] | None) -> Any:
    """The default configuration; a small one with ``limits``: the width's factor, the image's size and the layers."""
    # A question's two labels are the answer's start and end.
    settings = FIXED | ({} if head == "QUESTION_ANSWERING" else {"num_labels": CLASSES})
    if limits is None:
        return make(**settings)
    factor, image, layers = limits
    width = _setting(default := make(), "hidden_size", "hidden_sizes", "d_model") or 1
    divisor = 1 << max(0, (width if isinstance(width, int) else max(width)) // 128 - 1).bit_length()  # to at most 128
    return make(**_smaller(default, {"width": max(1, divisor // factor), "image": image, "layers": layers}) | settings)


def _smaller(config: Any, limits: dict[str, int]) -> dict[str, Any]:
    """The settings of ``config``, and of the configurations within it, that a small model has smaller."""
    found: dict[str, Any] = {}
    for key, value in vars(config).items():
        limit = next((limit for pattern, limit in LARGEST.items() if re.fullmatch(pattern, key)), None)
        sizes = list(value) if (many := isinstance(value, list | tuple)) else [value]
        if isinstance(value, transformers.PreTrainedConfig):
            found[key] = value.to_dict() | _smaller(value, limits)
        elif limit is not None and all(type(size) is int for size in sizes):
            most = limits[limit] if isinstance(limit, str) else limit
            sizes = [-(-size // most) if limit == "width" else min(size, most) for size in sizes]
            found[key] = type(value)(sizes) if many else sizes[0]
        elif many and len(value) == vars(config).get("num_hidden_layers"):
            found[key] = value[: limits["layers"]]
    return found


def _setting(config: Any, *names: str) -> Any:
    """The first of ``names`` that ``config``, or a configuration within it, has; None if none does."""
    parts = (value for value in vars(config).values() if isinstance(value, transformers.PreTrainedConfig))
    found = next((value for name in names if (value := getattr(config, name, None))), None)
    return found or next((value for part in parts if (value := _setting(part, *names))), None)


def _batch(model: Any, head: str, small: bool, rows: int, draw: torch.Generator) -> dict[str, Any]:
    """The arguments of the model's forward that can be made up."""
    takes, get = inspect.signature(model.forward).parameters, partial(_setting, model.config)
    tokens, answer = (_text(model, rows, 32 if small else 1024, draw) for _ in range(2))  # (N, T)
    classes = torch.randint(CLASSES, (rows,), generator=draw)  # (N,)
    side = get("image_size", "crop_size") or (64 if small else 224)
    sides = side if isinstance(side, list | tuple) else (side, side)
    image = (get("num_channels", "in_channels") or 3, *sides)
    clip = (get("num_frames", "frames_per_clip"), *image)
    bands = get("num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", "hidden_size")
    frames = 2 * (get("max_source_positions") or 32)
    spectrogram, waveform = (get("max_length"), bands), (4000 if small else 160_000,)
    shapes = {
        "pixel_values": clip if "VIDEO" in head else image,
        "pixel_values_videos": clip,
        "input_features": (bands, frames) if model.config.model_type == "whisper" else (frames, bands),
        "input_values": spectrogram if "max_length" in vars(model.config) else waveform,
    }
    made: dict[str, Any] = {name: examples(classes, shape, draw) for name, shape in shapes.items() if name in takes}
    # As many tokens are masked in each row, so that parts of a batch weigh the same.
    chosen = torch.rand(tokens.shape, generator=draw).argsort(1) < MASKED * tokens.shape[1]
    masked = torch.where(chosen, tokens, -100)
    labels = {
        "SPEECH_SEQ_2_SEQ": answer, "SEQ_TO_SEQ_CAUSAL_LM": answer, "CAUSAL_LM": tokens, "CTC": tokens[:, :4],
        "MASKED_LM": masked, "PRETRAINING": masked, "TOKEN_CLASSIFICATION": tokens % CLASSES,
        "SEQUENCE_CLASSIFICATION": tokens[:, 0] % CLASSES,
        "SEMANTIC_SEGMENTATION": classes[:, None, None].repeat(1, *sides),
        "OBJECT_DETECTION": [{"class_labels": one[None], "boxes": torch.full((1, 4), 0.5)} for one in classes],
        "MULTIPLE_CHOICE": classes % 2, "NEXT_SENTENCE_PREDICTION": classes % 2,
    }  # fmt: skip
    made |= {"labels": labels.get(head, classes), "start_positions": classes, "end_positions": classes + 2}
    made |= {"return_loss": True, "next_sentence_label": classes % 2, "sentence_order_label": classes % 2}
    if "input_ids" in takes or model.main_input_name == "inputs":
        tokens = torch.where(chosen, SPECIAL - 1, tokens) if labels.get(head) is masked else tokens
        tokens = torch.stack([tokens, answer], 1) if head == "MULTIPLE_CHOICE" else tokens
        made |= {"input_ids": tokens, "inputs": tokens, "attention_mask": torch.ones_like(tokens)}
    return {name: value for name, value in made.items() if name in takes}


def _text(model: Any, rows: int, most: int, draw: torch.Generator) -> Tensor:
    """Bytes of English as token ids (N, T), each row ended by the end token; T is at most ``most``."""
    vocabulary = _setting(model.config, "vocab_size") or 512
    positions = _setting(model.config, "max_position_embeddings", "n_positions", "max_target_positions") or most
    # RoBERTa counts positions from its padding token on, so that fewer are left.
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == positions]
    left = positions - max((m.padding_idx + 1 for m in tables if m.padding_idx is not None), default=0)
    windows, _ = _windows(min(most, left // 8 * 8))
    tokens = SPECIAL + windows[torch.randint(len(windows), (rows,), generator=draw)] % (vocabulary - SPECIAL)
    tokens[:, -1] = FIXED["eos_token_id"]
    return tokens
