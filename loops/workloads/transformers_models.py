"""Any model of transformers, from its configuration with random weights: ``hf:bert`` or ``hf:LlamaForCausalLM``.

Text is that of ``gpt``; images and sounds are noise around one example a class. Large is the default configuration;
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

SEQ_TO_SEQ = ("SPEECH_SEQ_2_SEQ", "SEQ_TO_SEQ_CAUSAL_LM")
HEADS = (
    *(*SEQ_TO_SEQ, "MASKED_LM", "CAUSAL_LM", "IMAGE_CLASSIFICATION", "CTC", "AUDIO_CLASSIFICATION"),
    *("VIDEO_CLASSIFICATION", "OBJECT_DETECTION", "SEMANTIC_SEGMENTATION", "SEQUENCE_CLASSIFICATION"),
    *("TOKEN_CLASSIFICATION", "QUESTION_ANSWERING", "MULTIPLE_CHOICE", "NEXT_SENTENCE_PREDICTION", "PRETRAINING"),
)
"""transformers' own tables of classes, by head. A model type means its class in the first table that lists it."""
END, MASK, FIRST_TOKEN = 2, 9, 10  # token ids; text begins at FIRST_TOKEN
MASKED_SHARE = 0.15  # of a text's tokens, as BERT's authors chose it
SETTINGS = {
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END, "decoder_start_token_id": 0,
    # A cache is for generating text. The others draw from numpy, change the work of a step, or download.
    "use_cache": False, "apply_spec_augment": False, "layerdrop": 0.0, "use_pretrained_backbone": False,
}  # fmt: skip
SMALLER = {
    "layers": r"(num_|n_)?(hidden_|encoder_|decoder_)?(layers?|depths?|blocks)",
    "width": r"d_model|d_ff|d_kv|d_inner|n_embd|n_inner|dim|(\w+_)?(hidden|embedding|intermediate|ffn|embed|head|model|"
    r"lora|conv|mlp|proj|projection|rope|nope|rotary)_(sizes?|dims?|rank|channels)",
    "image": "image_size", "vocabulary": r"vocab_size\w*", "experts": r"\w+experts",
    "positions": "max_source_positions|max_length",
}  # fmt: skip
"""The settings that a small model has smaller, as patterns of their names."""
LARGEST = {"layers": 2, "width": 128, "image": 64, "vocabulary": 512, "experts": 16, "positions": 64}
ANY = 9999
RELAXED: tuple[dict[str, int], ...] = (
    *({}, {"image": ANY}, {"image": ANY, "width": 256}, {"image": ANY, "width": 512}, {"image": ANY, "layers": ANY}),
)
"""Larger limits, tried in turn: some models need larger images, wider heads or all of their layers."""
_windows = functools.cache(text_windows)


def names() -> list[str]:
    """Every model type with a head, and every class with one."""
    return [*dict.fromkeys(name for head in HEADS for pair in _classes(head).items() for name in pair)]


def find(name: str) -> Workload | None:
    """The workload of a model type or class; None for an unknown one."""
    chosen = _class_of(name)
    cls = getattr(transformers, chosen, None)
    is_model = isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)
    if not is_model or getattr(cls, "config_class", None) is None:
        return None
    head = next((head for head in HEADS if chosen in _classes(head).values()), "")
    small, large = (partial(_make_task, f"hf:{name}", cls, head, is_small) for is_small in (True, False))
    sizes: Any = {"small": (small, 8), "large": (large, 64 if head == "IMAGE_CLASSIFICATION" else 8)}
    return Workload(f"hf:{name}", f"transformers' {chosen}", sizes, cls.__module__)


def _classes(head: str) -> dict[str, str]:
    """The class of each model type that has ``head``."""
    found = getattr(modeling_auto, f"MODEL_FOR_{head}_MAPPING_NAMES", {})
    return {kind: name if isinstance(name, str) else name[0] for kind, name in found.items()}


def _class_of(name: str) -> str:
    """The class of the model type ``name``; any other name as it is."""
    return next((classes[name] for head in HEADS if name in (classes := _classes(head))), name)


def _make_task(name: str, cls: Any, head: str, small: bool, device: torch.device, batch_size: int, seed: int) -> Task:
    """A model that computes its loss, trained by AdamW on four batches, which are passed by keyword."""
    transformers.logging.set_verbosity_error()  # it warns of special tokens outside a small vocabulary
    draw = torch.Generator().manual_seed(seed)
    model = _model(name, cls, head, small, device, seed)
    batches = [moved(_batch(model, head, small, batch_size, draw), device, torch.contiguous_format) for _ in range(4)]
    texts = {"input_ids", *(["labels"] if head in SEQ_TO_SEQ else [])} & {*batches[0]}
    return Task(
        model,
        None,
        partial(torch.optim.AdamW, lr=1e-3 if small else 1e-4),
        batches,
        counts={"tokens": lambda batch: sum(batch[text].numel() for text in texts)} if texts else None,
        blocks=repeated_blocks(model),
    )


def _model(name: str, cls: Any, head: str, small: bool, device: torch.device, seed: int) -> Any:
    """The model with the first configuration that computes a loss. Raises BadSpec with the last reason if none does."""
    settings = SETTINGS | ({} if head == "QUESTION_ANSWERING" else {"num_labels": CLASSES})  # an answer: start and end
    batch = dict[str, Any]()
    for limits in [LARGEST | relaxed for relaxed in RELAXED] if small else [dict[str, int]()]:
        torch.manual_seed(seed)
        try:
            smaller = _smaller(default := cls.config_class(), limits, _divisor(default, limits)) if small else {}
            with device:
                model = cls(cls.config_class(**smaller | settings)).to(device)
            batch = _batch(model, head, small, 2, torch.Generator().manual_seed(seed))
            with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
                loss_in(model.eval()(**moved(batch, device, torch.contiguous_format)))
            return model.train()
        except torch.OutOfMemoryError:
            raise
        except BadBatch:
            failure = f"computes no loss from made-up {', '.join(batch)}"
        except Exception as error:
            failed = f"fails on made-up {', '.join(batch)}" if batch else "cannot be made from its configuration"
            failure = f"{failed}: {type(error).__name__}: {' '.join(str(error).split())[:240]}"
    others = [f"hf:{other}" for other in [_class_of(cls.config_class.model_type)] if other not in (cls.__name__, name)]
    usual = "self|return_dict|output_.+|use_cache|cache|kwargs"
    takes = [key for key in inspect.signature(cls.forward).parameters if not re.fullmatch(usual, key)]
    remedy = [f"name another class, such as {other}," for other in others]
    remedy += [f"write a task, FILE.py:make_task, that gives what its forward takes: {', '.join(takes)}"]
    raise BadSpec(f"{name}: {cls.__name__} {failure}; {' or '.join(remedy)}")


def _divisor(config: Any, limits: dict[str, int]) -> int:
    """The least power of two that divides the model's width to at most its limit."""
    width = _setting(config, "hidden_size", "hidden_sizes", "d_model") or 1
    widest = width if isinstance(width, int) else max(width)
    return 1 << (-(-widest // limits["width"]) - 1).bit_length()


def _smaller(config: Any, limits: dict[str, int], divisor: int) -> dict[str, Any]:
    """The settings of ``config``, and of the configurations within it, that a small model has smaller."""
    found: dict[str, Any] = {}
    for key, value in vars(config).items():
        kind = next((kind for kind, pattern in SMALLER.items() if re.fullmatch(pattern, key)), None)
        is_list = isinstance(value, list | tuple)
        sizes = list(value) if is_list else [value]
        if isinstance(value, transformers.PreTrainedConfig):
            found[key] = value.to_dict() | _smaller(value, limits, divisor)
        elif kind and all(type(size) is int for size in sizes):
            sizes = [-(-size // divisor) if kind == "width" else min(size, limits[kind]) for size in sizes]
            found[key] = type(value)(sizes) if is_list else sizes[0]
        elif is_list and len(sizes) == vars(config).get("num_hidden_layers"):  # one value a layer
            found[key] = value[: limits["layers"]]
    return found


def _setting(config: Any, *names: str) -> Any:
    """The first of ``names`` that ``config``, or a configuration within it, has; None if none does."""
    parts = (value for value in vars(config).values() if isinstance(value, transformers.PreTrainedConfig))
    found = next((value for name in names if (value := getattr(config, name, None))), None)
    return found or next((value for part in parts if (value := _setting(part, *names))), None)


def _batch(model: Any, head: str, small: bool, rows: int, draw: torch.Generator) -> dict[str, Any]:
    """The arguments of the model's forward that can be made up, for ``rows`` samples of ten classes."""
    takes = inspect.signature(model.forward).parameters
    text, answer = (_text(model, rows, 32 if small else 1024, draw) for _ in range(2))  # (N, T)
    # As many tokens are masked in each row, so that parts of a batch weigh the same.
    is_masked = torch.rand(text.shape, generator=draw).argsort(1) < MASKED_SHARE * text.shape[1]
    classes = torch.randint(CLASSES, (rows,), generator=draw)  # (N,)
    shapes = _shapes(model.config, head, small)
    made: dict[str, Any] = {name: examples(classes, shape, draw) for name, shape in shapes.items() if name in takes}
    labels = {
        "SPEECH_SEQ_2_SEQ": answer, "SEQ_TO_SEQ_CAUSAL_LM": answer, "CAUSAL_LM": text, "CTC": text[:, :4],
        "MASKED_LM": (masked := torch.where(is_masked, text, -100)), "PRETRAINING": masked,
        "TOKEN_CLASSIFICATION": text % CLASSES, "SEQUENCE_CLASSIFICATION": text[:, 0] % CLASSES,
        "SEMANTIC_SEGMENTATION": classes[:, None, None].expand(-1, *shapes["pixel_values"][-2:]).contiguous(),
        "OBJECT_DETECTION": [{"class_labels": one[None], "boxes": torch.full((1, 4), 0.5)} for one in classes],
        "MULTIPLE_CHOICE": classes % 2, "NEXT_SENTENCE_PREDICTION": classes % 2,
    }.get(head, classes)  # fmt: skip
    made |= {"labels": labels, "start_positions": classes, "end_positions": classes + 2, "return_loss": True}
    made |= {"next_sentence_label": classes % 2, "sentence_order_label": classes % 2}
    if "input_ids" in takes:
        if labels is masked:
            text = torch.where(is_masked, MASK, text)
        elif head == "MULTIPLE_CHOICE":
            text = torch.stack([text, answer], 1)  # (N, 2, T)
        made["input_ids"] = text  # without a mask: no row is padded, and the host would wait to read it in each step
    return {name: value for name, value in made.items() if name in takes}


def _shapes(config: Any, head: str, small: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of one image, video, spectrogram or waveform, by the arguments' names."""
    setting = partial(_setting, config)
    side = setting("image_size", "crop_size") or (64 if small else 224)
    sides = side if isinstance(side, list | tuple) else (side, side)
    image = (setting("num_channels", "in_channels") or 3, *sides)
    video = (setting("num_frames", "frames_per_clip"), *image)
    bands = setting("num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", "hidden_size")
    frames = 2 * (setting("max_source_positions") or 32)
    sound = (setting("max_length"), bands) if "max_length" in vars(config) else (4000 if small else 160_000,)
    return {
        "pixel_values": video if head == "VIDEO_CLASSIFICATION" else image,
        "pixel_values_videos": video,
        "input_features": (bands, frames) if config.model_type == "whisper" else (frames, bands),
        "input_values": sound,
    }


def _text(model: Any, rows: int, longest: int, draw: torch.Generator) -> Tensor:
    """Bytes of English as token ids (N, T), each row ended by END; T is at most ``longest``."""
    vocabulary = _setting(model.config, "vocab_size") or 512
    positions = _setting(model.config, "max_position_embeddings", "n_positions", "max_target_positions") or longest
    # RoBERTa counts positions from its padding token on, so that fewer are left.
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == positions]
    left = (positions if positions > 0 else longest) - max(
        (m.padding_idx + 1 for m in tables if m.padding_idx is not None), default=0
    )
    windows, _ = _windows(min(longest, left // 8 * 8))
    text = FIRST_TOKEN + windows[torch.randint(len(windows), (rows,), generator=draw)] % (vocabulary - FIRST_TOKEN)
    text[:, -1] = END
    return text
