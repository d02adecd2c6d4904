"""The plan of a command: complete from its options, or one line that says which option is wrong."""

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from loopmark.bench.errors import BadInput
from loopmark.bench.measure.device_clock import why_untimed
from loopmark.bench.measure.launcher import apart
from loopmark.bench.measure.machine import available_cores, default_threads
from loopmark.bench.measure.training.stopping import Terms
from loopmark.bench.records.run import Plan
from loopmark.loops.catalog import find_loop, find_workload
from loopmark.loops.cuda_graphs import has_external_events
from loopmark.loops.loop import EAGER, Loop
from loopmark.loops.switches import deterministic
from loopmark.loops.user_code import BadSpec
from loopmark.loops.workload import Workload

DEFAULT_WORKLOADS = ("regression_mlp", "resnet", "gpt")
DEFAULT_LOOPS = (
    *("eager", "channels_last", "amp_bf16", "fused_optimizer", "tf32", "compile"),
    *("fused_optimizer+compile", "cuda_graph"),
)
DEFAULT_LOOPS_ON_CUDA = (
    *(loop for loop in DEFAULT_LOOPS if loop != "fused_optimizer+compile"),  # its compilation takes too long
    "graph_model",
)
IN_PLACE_OF_EXTERNAL_EVENTS = ("graph_phases",)  # where a graph of the whole step cannot time its phases
QUICK_WORKLOADS = ("resnet",)
QUICK_LOOPS = ("eager", "channels_last", "amp_bf16", "fused_optimizer", "compile", "cuda_graph")

CPU_BLOCK_SECONDS, DEVICE_BLOCK_SECONDS = 0.005, 0.02
"""Noise comes in bursts, so many short blocks compare better than a few long ones. On a CPU a block is about one step.
On a GPU it is longer, because the device is idle at a block's start and end, and that must not weigh."""

A_DAY, MOST_LAUNCHES, MOST_SEEDS = 86_400, 1000, 1000


@dataclass(frozen=True)
class PlanOptions:
    """The options of a command; with None, Loopmark chooses."""

    command: Sequence[str]
    workloads: Sequence[str] = ()
    loops: Sequence[str] = ()
    baseline: str | None = None  # the loop that the others are compared with; None: eager
    device: str | None = None
    size: str | None = None
    batch_size: int | None = None
    budget_seconds: float | None = None
    launches: int | None = None
    seed: int = 0
    threads: int | None = None
    limit_seconds: float = 300.0
    quick: bool = False
    keep_throttled: bool = False  # True to keep a throttled turn instead of repeating it
    deterministic: bool = False
    """True to restrict every loop to torch's deterministic algorithms. The baseline stays without, to show the cost."""


def make_plan(options: PlanOptions) -> Plan:
    """The plan for ``options``. Raises BadInput where it cannot be carried out."""
    quick = options.quick
    device = _device(options.device)
    if options.size not in (None, "small", "large"):
        raise BadInput(f"no size '{options.size}'; give small or large")
    threads = options.threads if options.threads is not None else default_threads()
    cores = len(available_cores()) or threads
    if not 1 <= threads <= cores:
        raise BadInput(f"--threads {threads} does not fit this machine; give 1 to {cores}")
    budget = 1.5 if quick else 4.0 if device == "cpu" else 3.0  # on a GPU, a run is then forecast to take ten minutes
    budget = budget if options.budget_seconds is None else options.budget_seconds
    launches = options.launches if options.launches is not None else (5 if device == "cpu" and not quick else 3)
    _refuse_seconds(budget, "budget", "seconds per case", per=" a case")
    if launches > MOST_LAUNCHES:
        raise BadInput(f"--launches {launches} is too many; give at most {MOST_LAUNCHES}")
    _refuse_seconds(options.limit_seconds, "limit", "seconds")
    _refuse_none(launches, "launches", "fresh processes per case")
    if not 0 <= options.seed < 2**63:
        raise BadInput(f"--seed {options.seed} makes no sense; give a whole number from 0 to 2**63 - 1")
    if options.batch_size is not None:
        _refuse_none(options.batch_size, "batch-size", "samples a step")
    if options.baseline == "":
        raise BadInput("--baseline has no name; give a loop, as in --baseline path/to/file.py:step, or leave it out")
    baseline = options.baseline or EAGER.name
    specs = [baseline, *(options.loops or (QUICK_LOOPS if quick else _default_loops(device)))]
    if options.deterministic:
        mark = deterministic.name
        specs = [baseline, *(spec if mark in spec.split("+") else f"{spec}+{mark}" for spec in specs)]
    loops = _each_once(specs, find_loop)
    return Plan(
        command=shlex.join(options.command),
        workloads=_each_once(options.workloads or (QUICK_WORKLOADS if quick else DEFAULT_WORKLOADS), find_workload),
        loops=loops,
        device=device,
        size=options.size or ("small" if device == "cpu" else "large"),
        batch_size=options.batch_size,
        budget_seconds=budget,
        launches=launches,
        seed=options.seed,
        threads=threads,
        block_seconds=CPU_BLOCK_SECONDS if device == "cpu" else DEVICE_BLOCK_SECONDS,
        warmup_ceiling_seconds=3.0 if quick else 10.0,
        limit_seconds=options.limit_seconds,
        remeasure_throttled=not options.keep_throttled,
        baseline=find_loop(loops[0]).name,
    )


def _default_loops(device: str) -> tuple[str, ...]:
    if not device.startswith("cuda"):
        return DEFAULT_LOOPS
    return (*DEFAULT_LOOPS_ON_CUDA, *(() if has_external_events() else IN_PLACE_OF_EXTERNAL_EVENTS))


def _device(name: str | None) -> str:
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None:
        return "cuda:0" if present else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BadInput(f"no device '{name}'; give cpu, cuda or cuda:N") from None
    if device.type == "cpu":
        return "cpu"
    if device.type != "cuda":
        return _other_device(name, device)
    if not present:
        built = "" if torch.version.cuda or torch.version.hip else f"; torch {torch.__version__} is built without it"
        raise BadInput(f"--device {name}: this machine shows no CUDA device{built}; give --device cpu")
    if (device.index or 0) >= present:
        raise BadInput(f"--device {name}: this machine has {present} CUDA device(s); give cuda:0 to cuda:{present - 1}")
    return f"cuda:{device.index or 0}"


def _other_device(name: str, device: torch.device) -> str:
    """An accelerator other than CUDA, such as Intel's ``xpu`` or Apple's ``mps``, if its events can be timed.

    The check runs in another process, since using the device here would block it for processes forked from this one.
    """
    here = torch.accelerator.current_accelerator(check_available=True)
    if here is None or here.type != device.type:
        raise BadInput(f"--device {name}: this machine shows no {device.type} device; give cpu, cuda or cuda:N")
    wanted = f"{device.type}:{device.index or 0}"
    if reason := apart(why_untimed, wanted):
        raise BadInput(f"--device {name}: this device cannot time its own work, so Loopmark cannot use it: {reason}")
    return wanted


def _each_once(specs: Sequence[str], find: Callable[[str], Workload | Loop]) -> tuple[str, ...]:
    """The specs of workloads or loops without repeats. Raises BadInput for an unknown one, or two of the same name."""
    kept: dict[str, str] = {}
    for spec in specs:
        try:
            name = find(spec).name
        except BadSpec as error:
            raise BadInput(str(error)) from error
        known_as = spec if ":" in spec else name
        if kept.setdefault(name, known_as) != known_as:
            raise BadInput(f"{kept[name]} and {spec} have the same name {name}; rename one of the functions")
    return tuple(kept.values())


def terms_within_a_run(seeds: int | None, *, quick: bool, device: str = "cpu") -> Terms:
    """The duration and seeds of `loopmark run`'s training, which ends at the target to leave time for timing.

    On a GPU it trains only when ``seeds`` is given: the large sizes need more time than a run allows.
    """
    short, seeds = quick or device != "cpu", _seeds(seeds) if seeds is not None else int(device == "cpu")
    return Terms(seeds=seeds, until="target", budget_seconds=5.0 if short else 15.0)


def ceiling_seconds(*, quick: bool) -> float:
    """Seconds that `loopmark run` spends on the device's ceilings."""
    return 4.0 if quick else 8.0


def training_terms(seeds: int | None, budget_seconds: float | None, *, quick: bool) -> Terms:
    """The duration and seeds of `loopmark train`. Raises BadInput for values that cannot be used."""
    budget = budget_seconds if budget_seconds is not None else (10.0 if quick else 30.0)
    _refuse_seconds(budget, "budget", "seconds of training for each seed", per=" a seed")
    return Terms(seeds=_seeds(3 if seeds is None else seeds), until="convergence", budget_seconds=budget, insists=True)


def _seeds(seeds: int) -> int:
    if not 1 <= seeds <= MOST_SEEDS:
        raise BadInput(f"--seeds {seeds} makes no sense; give 1 to {MOST_SEEDS}")
    return seeds


def _refuse_none(value: float, name: str, unit: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise BadInput(f"--{name} {value} makes no sense; give {unit}, more than 0")


def _refuse_seconds(value: float, name: str, unit: str, per: str = "") -> None:
    _refuse_none(value, name, unit)
    if value > A_DAY:
        raise BadInput(f"--{name} {value:g} is more than a day{per}; give at most {A_DAY} seconds")
