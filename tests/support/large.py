"""Large runs, built column by column; ``tests.support.synthetic`` builds row by row."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from loopmark.bench.records.run import Run
from loopmark.bench.records.samples import COLUMNS, Samples, typed
from tests.support.synthetic import PHASES, Truth, make_run

WORKLOADS = ("regression-mlp", "resnet", "gpt")
TRUTHS = [Truth("eager"), Truth("eager", repeat=True)] + [
    Truth(loop, seconds, compile_seconds=compiling)
    for loop, seconds, compiling in (
        ("amp_bf16", 0.012, 0.0), ("channels_last", 0.0098, 0.0), ("compile", 0.008, 9.0),
        ("amp_bf16+compile", 0.0075, 11.0), ("fused_optimizer", 0.0095, 0.0), ("accumulate_4", 0.0101, 0.0),
    )
]  # fmt: skip
LAUNCHES = 5
BLOCKS = (True, False, False, True)
"""The blocks of a turn; True if timed phase by phase."""
STEPS = 4
"""Steps per block."""
ROWS_OF_ROUND = len(WORKLOADS) * len(TRUTHS) * LAUNCHES * sum(BLOCKS) * STEPS * len(PHASES)
"""Rows of ``Samples.phases`` if each launch has one round."""


def make_large_run(rows: int, *, device: bool = False, seed: int = 0) -> tuple[Run, Samples]:
    """Three workloads of eight loops with five launches, in at least ``rows`` rows of ``Samples.phases``.

    The rows have a run's order: round by round, with the loops of a workload in random order. All times differ, so
    that the files are as large as those of a measured run. On a device, every hundredth block is throttled on
    average.
    """
    rng = np.random.default_rng(seed)
    rounds = -(-rows // ROWS_OF_ROUND)
    run, little = make_run(TRUTHS, WORKLOADS, launches=LAUNCHES, rounds=1, steps=1, device=device)
    shape = (len(WORKLOADS), LAUNCHES, rounds, len(TRUTHS), len(BLOCKS))
    workload, launch, round_, _, block = np.indices(shape, dtype=np.int32, sparse=True)
    loops = rng.permuted(np.broadcast_to(np.arange(len(TRUTHS), dtype=np.int32), shape[:-1]), axis=-1)[..., None]
    lapped = np.broadcast_to(np.array(BLOCKS), shape)
    first_step = np.broadcast_to(12 + STEPS * (len(BLOCKS) * round_ + block), shape)
    weather = 1 + 0.2 * np.sin(np.linspace(0, 9, rounds))[:, None, None]
    pace = np.array([truth.step_seconds for truth in TRUTHS])[loops] * weather * rng.lognormal(0, 0.05, shape)
    steal = np.where(rng.random(shape) < 0.002, 0.01, 0.0)
    seconds = STEPS * (pace + steal)
    blocks = {
        "case": workload * len(TRUTHS) + loops,
        "launch": launch,
        "round": round_,
        "block": block,
        "lapped": lapped,
        "first_step": first_step,
        "steps": STEPS,
        "host_seconds": seconds,
        "device_seconds": seconds if device else np.nan,
        "involuntary_switches": rng.poisson(0.3, shape),
        "steal_seconds": steal,
        "sm_clock_hertz": 1.98e9 if device else np.nan,
        "throttle_reasons": np.where(rng.random(shape) < 0.01, "thermal slowdown", "") if device else "",
        "foreign_processes": 0,
    }
    flat = pd.DataFrame({name: np.broadcast_to(column, shape).reshape(-1) for name, column in blocks.items()})
    laps = _laps(flat[flat["lapped"]], device, rng)
    read = laps["phase"] == "optimizer"
    losses = laps.loc[read, ["case", "launch", "step"]]
    losses = losses.assign(loss=2.3 / (1 + losses["step"] / 2000) * rng.lognormal(0, 0.05, len(losses)))
    every = {"phases": laps, "blocks": flat, "warmup": little.warmup, "losses": losses}
    return run, Samples(**{name: typed(COLUMNS[name], frame) for name, frame in every.items()})


def _laps(blocks: pd.DataFrame, device: bool, rng: np.random.Generator) -> pd.DataFrame:
    """Every step of ``blocks``, phase by phase; a device's host takes about 30 % of the time to enqueue it."""
    shape = (len(blocks), STEPS, len(PHASES))

    def spread(column: str) -> NDArray[np.generic]:
        return np.repeat(blocks[column].to_numpy(), STEPS * len(PHASES))

    shares = np.array(list(PHASES.values())) * rng.lognormal(0, 0.1, shape)
    step = blocks["host_seconds"].to_numpy() / STEPS
    seconds = (step[:, None, None] * shares / shares.sum(axis=2, keepdims=True)).reshape(-1)
    names = pa.array(list(PHASES), pa.large_string()).take(pa.array(np.tile(np.arange(len(PHASES)), shape[0] * STEPS)))
    steps = blocks["first_step"].to_numpy()[:, None] + np.arange(STEPS)
    return pd.DataFrame(
        {
            **{column: spread(column) for column in ("case", "launch", "round", "block")},
            "step": np.repeat(steps.reshape(-1), len(PHASES)),
            "phase": names.to_pandas(),
            "host_seconds": seconds * (0.3 if device else 1.0),
            "device_seconds": seconds if device else np.nan,
        }
    )
