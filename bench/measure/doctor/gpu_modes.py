"""The modes that a GPU is in."""

from loopmark.bench.measure.doctor.gpu_settings import GpuSettings
from loopmark.bench.records.checks import Check, Finding

SILENT = "the driver does not say"

PERSISTENCE = Check(
    "GPU",
    "persistence mode",
    "Without it the driver puts the GPU down when its last process ends, and the next one waits for it to come up, "
    "with clocks and temperature of a cold start.",
)
COMPUTE = Check(
    "GPU",
    "compute mode",
    "Loopmark keeps a process of every loop on the GPU while they take turns; in an exclusive mode all but one fail.",
)
ECC = Check(
    "GPU",
    "memory errors",
    "Correcting errors (ECC) costs some boards memory and bandwidth, so that runs with and without it do not compare; "
    "a memory that fails may slow a step down, or spoil it.",
)
MIG = Check(
    "GPU",
    "MIG",
    "An instance of a GPU has a part of it, and shares power and clocks with the others.",
)


def persistence_mode(gpu: GpuSettings) -> Finding:
    """Whether the driver stays."""
    on = gpu.persistence()
    if on is None:
        return PERSISTENCE.not_known(SILENT)
    if on:
        return PERSISTENCE.good("on")
    return PERSISTENCE.could_be_better(
        "off", "Switch it on; it lasts until the next start.", f"sudo nvidia-smi -i {gpu.board} -pm 1"
    )


def compute_mode(gpu: GpuSettings) -> Finding:
    """Whether several processes may share the GPU."""
    mode = gpu.compute_mode()
    if mode is None:
        return COMPUTE.not_known(SILENT)
    if mode == "default":
        return COMPUTE.good(mode)
    return COMPUTE.bad(mode, "Let several processes use it.", f"sudo nvidia-smi -i {gpu.board} -c DEFAULT")


def memory_errors(gpu: GpuSettings) -> Finding:
    """Whether they are corrected, and how many there were."""
    on, soon = gpu.ecc(), gpu.ecc_after_next_start()
    if on is None:
        return ECC.not_known(f"{SILENT}; a board without ECC cannot")
    lost, corrected = gpu.uncorrected_errors(), gpu.corrected_errors()
    counts = [
        f"{count:,} {kind}" for count, kind in ((lost, "uncorrected"), (corrected, "corrected")) if count is not None
    ]
    reading = f"ECC {_switch(on)}" + (f"; {', '.join(counts)} since the driver was loaded" if counts else "")
    look = f"nvidia-smi -i {gpu.board} -q -d ECC,ROW_REMAPPER"
    if lost:
        return ECC.bad(reading, "Do not trust what this GPU computes before its memory was looked at.", look)
    if corrected:
        return ECC.could_be_better(reading, "See whether they become more.", look)
    if soon is not None and soon != on:
        return ECC.could_be_better(
            f"{reading}; {_switch(soon)} after the next start",
            "Start the machine again, or take the change back, before runs that are to compare.",
            f"sudo nvidia-smi -i {gpu.board} -e {int(on)}",
        )
    return ECC.good(reading)


def instances(gpu: GpuSettings) -> Finding:
    """Whether the GPU is cut into instances."""
    on = gpu.mig()
    if on is None:
        return MIG.not_known(f"{SILENT}; most boards cannot be divided")
    if not on:
        return MIG.good("off")
    return MIG.could_be_better(
        "on",
        "Use the whole GPU; its instances, and what runs on them, go away.",
        f"sudo nvidia-smi -i {gpu.board} -mig 0",
    )


def _switch(on: bool) -> str:
    return "on" if on else "off"
