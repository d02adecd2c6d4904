"""What a GPU shares, and the link to it."""

from loopmark.bench.measure.doctor.gpu_modes import SILENT
from loopmark.bench.measure.doctor.gpu_settings import GpuSettings
from loopmark.bench.records.checks import Check, Finding

OTHERS = Check(
    "GPU",
    "other processes",
    "A process that computes on the same GPU takes turns with the step; one that only waits still holds memory.",
)
LINK = Check(
    "GPU",
    "PCI Express link",
    "Batches that are copied from the host cross it, within the phase `data`.",
)


def other_processes(gpu: GpuSettings) -> Finding:
    """Who else has a context there; this command has none."""
    number = gpu.company()
    if number is None:
        return OTHERS.not_known(SILENT)
    if not number:
        return OTHERS.good("none")
    return OTHERS.bad(
        f"{number:,}",
        "End them, or wait for them.",
        f"nvidia-smi -i {gpu.board} --query-compute-apps=pid,name,used_memory --format=csv",
    )


def link(gpu: GpuSettings) -> Finding:
    """Its generation and lanes, against what board and machine can have."""
    generation, highest = gpu.link_generation(), gpu.highest_link_generation()
    lanes, most = gpu.link_lanes(), gpu.most_link_lanes()
    if generation is None or highest is None or lanes is None or most is None:
        return LINK.not_known(SILENT)
    reading = f"generation {generation} of {highest}, {lanes} of {most} lanes"
    if lanes < most:
        return LINK.could_be_better(
            reading,
            "See whether the board sits well in a slot of full width; some links give up lanes while idle, so look "
            "again during a run.",
            f"nvidia-smi -i {gpu.board} -q -d PCIE",
        )
    if generation < highest:
        return LINK.not_known(f"{reading}; an idle link slows down, so only a run can show its generation")
    return LINK.good(reading)
