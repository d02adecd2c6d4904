"""Runs that were never measured, with a known truth, for tests of judging and drawing."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from loopmark.bench.records.ceilings import Ceiling, Ceilings, Kind, Unit
from loopmark.bench.records.machine import Environment, Gpu, Machine
from loopmark.bench.records.run import Case, Compilation, Launch, PhaseWork, Plan, Run, Status
from loopmark.bench.records.samples import COLUMNS, Samples, typed

PHASES = {"data": 0.02, "zero_grad": 0.03, "forward": 0.3, "loss": 0.02, "backward": 0.53, "optimizer": 0.1}
"""Each phase's share of a synthetic step."""


WORK = (
    PhaseWork("data", {}, 3e4), PhaseWork("zero_grad", {}, 0.0), PhaseWork("forward", {"float32": 1e8}, 3e6),
    PhaseWork("loss", {}, 5e3), PhaseWork("backward", {"float32": 2e8}, 3e6), PhaseWork("optimizer", {}, 1.5e6),
)  # fmt: skip
"""The work of a synthetic step: 3 ms of arithmetic and some memory at the ceilings below."""


def ceilings() -> Ceilings:
    """100 GFLOP/s in float32, 400 in bfloat16, 20 GB/s, each known to 5 %."""
    known: tuple[tuple[Kind, str | None, float, Unit], ...] = (
        ("matrix product", "float32", 1e11, "flops per second"),
        ("matrix product", "bfloat16", 4e11, "flops per second"),
        ("copy", None, 2e10, "bytes per second"),
    )
    return Ceilings(
        started="2026-01-01T00:00:00+00:00", seconds=8.0, budget_seconds=8.0, seed=0, machine=machine(),
        environment=environment(), device="cpu",
        ceilings=tuple(Ceiling(k, d, value, 0.95 * value, 1.05 * value, u, 1024, 30) for k, d, value, u in known),
    )  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """The true properties of one case."""

    loop: str
    step_seconds: float = 0.010
    repeat: bool = False
    status: Status = "ok"
    reason: str | None = None
    lap_cost: float = 1.001
    compile_seconds: float = 0.0
    compilation: Compilation | None = None


def machine(gpu: bool = False) -> Machine:
    """A plain machine, with one GPU on request."""
    gpus = (Gpu("NVIDIA Imaginary 1", 80 * 2**30, "9.0", 132),) if gpu else ()
    return Machine("Imaginary CPU", 2, 4, 16 * 2**30, "x86_64", "Linux 6.1", gpus)


def environment() -> Environment:
    """A plain environment."""
    return Environment(
        loopmark="0.1.0", revision=None, python="3.11.7", torch="2.13.0", cuda=None, cudnn=None, driver=None,
        packages={"numpy": "2.0.0"}, variables={}, threads=2, cores=(0, 1), cpu_capability="AVX2",
        compiler="g++ 12", huge_pages="madvise", governor=None,
    )  # fmt: skip


def plan(
    workloads: tuple[str, ...], loops: tuple[str, ...], device: str = "cpu", launches: int = 5, baseline: str = "eager"
) -> Plan:
    """A plain plan."""
    return Plan(
        command="loopmark run", workloads=workloads, loops=loops, device=device, size="small", batch_size=None,
        budget_seconds=4.0, launches=launches, seed=0, threads=2, block_seconds=0.02,
        warmup_ceiling_seconds=10.0, limit_seconds=300.0, baseline=baseline,
    )  # fmt: skip


def _phases(seconds: float, device: bool) -> list[dict[str, object]]:
    """One lapped step of ``seconds``; a device's host takes 30 % of the time to enqueue it."""
    return [
        dict(
            phase=phase,
            host_seconds=seconds * share * (0.3 if device else 1),
            device_seconds=seconds * share if device else np.nan,
        )
        for phase, share in PHASES.items()
    ]


def _launch(truth: Truth, index: int, step_seconds: float, warmup: list[float], steps: int) -> Launch:
    """A launch with these seconds for each warm-up step; only the first launch compiles from nothing."""
    return Launch(
        index=index, setup_seconds=0.05, first_step_seconds=0.05 + warmup[0], warmup_steps=len(warmup),
        warmup_seconds=sum(warmup), steady=True, steady_step_seconds=step_seconds,
        excess_seconds=sum(warmup) - step_seconds * len(warmup),
        compile_seconds=truth.compile_seconds * (1 if index == 0 else 0.1),
        compile_cache=("cold" if index == 0 else "warm") if truth.compile_seconds else "none",
        steps=steps, peak_memory_bytes=500 * 2**20, skipped_steps=None, final_scale=None, pid=1,
        compilation=truth.compilation,
    )  # fmt: skip


def _case(workload: str, truth: Truth, launches: tuple[Launch, ...]) -> Case:
    return Case(
        workload=workload, loop=truth.loop, repeat=truth.repeat, status=truth.status, reason=truth.reason,
        batch_size=64, parameters=77_000, data_sha256="ab" * 32, phases=tuple(PHASES),
        memory_kind="resident set", launches=launches, work=WORK if launches else (),
    )  # fmt: skip


def make_run(
    truths: list[Truth],
    workloads: tuple[str, ...] = ("resnet",),
    *,
    launches: int = 5,
    rounds: int = 12,
    steps: int = 2,
    launch_noise: float = 0.005,
    block_noise: float = 0.01,
    drift: float = 0.2,
    device: bool = False,
    seed: int = 0,
    baseline: str = "eager",
) -> tuple[Run, Samples]:
    """A run of ``truths`` on every workload: log-normal noise by launch and by block, and a drift shared by all."""
    rng = np.random.default_rng(seed)
    cases: list[Case] = []
    tables: dict[str, list[dict[str, object]]] = {"phases": [], "blocks": [], "warmup": [], "losses": []}
    for workload in workloads:
        weather = 1 + drift * np.sin(np.linspace(0, 9, launches * rounds) + rng.uniform(0, 6))
        for truth in truths:
            index = len(cases)
            made = []
            for launch in range(launches if truth.status == "ok" else 0):
                bias = float(np.exp(rng.normal(0, launch_noise)))
                base = truth.step_seconds * bias
                first = base * 3 + truth.compile_seconds * (1 if launch == 0 else 0.1)
                warmup = [first] + [base * (1 + 0.5 * 0.5**i) for i in range(11)]
                for step, seconds in enumerate(warmup):
                    tables["warmup"].append(dict(case=index, launch=launch, step=step, seconds=seconds))
                    tables["losses"].append(dict(case=index, launch=launch, step=step, loss=2.3 / (1 + step / 20)))
                step = len(warmup)
                for round_ in range(rounds):
                    now = base * weather[launch * rounds + round_]
                    for block, lapped in enumerate(rng.permutation([True, False, False, True])):
                        seconds = now * float(np.exp(rng.normal(0, block_noise))) * (truth.lap_cost if lapped else 1)
                        tables["blocks"].append(
                            dict(
                                case=index,
                                launch=launch,
                                round=round_,
                                block=block,
                                lapped=bool(lapped),
                                first_step=step,
                                steps=steps,
                                host_seconds=seconds * steps,
                                device_seconds=seconds * steps if device else np.nan,
                                involuntary_switches=int(rng.random() < 0.1),
                                steal_seconds=0.0,
                                sm_clock_hertz=1.98e9 if device else np.nan,
                                throttle_reasons="",
                                foreign_processes=0,
                            )
                        )
                        if lapped:
                            for s in range(step, step + steps):
                                tables["losses"].append(
                                    dict(case=index, launch=launch, step=s, loss=2.3 / (1 + s / 20))
                                )
                                at = dict(case=index, launch=launch, round=round_, block=block, step=s)
                                tables["phases"] += [{**at, **phase} for phase in _phases(seconds, device)]
                        step += steps
                made.append(_launch(truth, launch, base, warmup, step))
            cases.append(_case(workload, truth, tuple(made)))
    loops = tuple(t.loop for t in truths if not t.repeat)
    run = Run(
        name="20260101-000000", started="2026-01-01T00:00:00+00:00", seconds=100.0, interrupted=False,
        plan=plan(workloads, loops, "cuda" if device else "cpu", launches, baseline), machine=machine(device),
        environment=environment(), cases=tuple(cases),
    )  # fmt: skip
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    samples = Samples(**{n: typed(COLUMNS[n], f) if len(f) else getattr(Samples.empty(), n) for n, f in frames.items()})
    return run, samples


def hold_down(samples: Samples, case: int, factor: float = 10) -> Samples:
    """``samples`` with the first block of every turn of ``case`` throttled: ``factor`` times as long."""
    turn = ["case", "launch", "round", "lapped"]
    held = samples.blocks["case"].eq(case) & (samples.blocks.groupby(turn).cumcount() == 0)
    slow = [*turn[:3], "block"]
    own = pd.MultiIndex.from_frame(samples.phases[slow]).isin(pd.MultiIndex.from_frame(samples.blocks.loc[held, slow]))
    blocks, phases = samples.blocks.copy(), samples.phases.copy()
    for table, rows in ((blocks, held), (phases, own)):
        table.loc[rows, ["host_seconds", "device_seconds"]] *= factor
    blocks.loc[held, "throttle_reasons"] = "thermal slowdown"
    return replace(samples, blocks=blocks, phases=phases)
