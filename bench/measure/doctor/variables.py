"""Environment variables that decide how threads are counted, placed and kept waiting."""

from loopmark.bench.measure.doctor.host import Host
from loopmark.bench.records.checks import Check, Finding

PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
PLACING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""They bind threads to cores of their own choice, within or against the set that Loopmark pins its processes to."""

THREADS = Check(
    "software",
    "threads",
    "More threads than cores wait for each other; fewer leave cores unused. All loops of a run use as many.",
)
VARIABLES = Check(
    "software",
    "thread variables",
    "They change how many threads compute, on which cores, and how idle ones wait; a run without them is another run.",
)


def threads(host: Host) -> Finding:
    """How many threads a run would use, which only ``--threads`` changes."""
    return THREADS.good(f"{host.threads} by default" + (f", on {host.core_list()}" if host.cores else ", not pinned"))


def thread_variables(host: Host) -> Finding:
    """Which are set."""
    found = {name: value for name, value in sorted(host.variables.items()) if name.startswith(PREFIXES) and value}
    if not found:
        return VARIABLES.good("none is set")
    reading = ", ".join(f"{name}={value}" for name, value in found.items())
    placing = [name for name in PLACING if name in found]
    spinning = ["OMP_WAIT_POLICY"] if found.get("OMP_WAIT_POLICY", "").lower() == "active" else []
    if not placing and not spinning:
        return VARIABLES.good(f"{reading}; a run keeps them with its results")
    says = []
    if placing:
        says.append("Loopmark pins its processes itself, and threads bound once more may share a core.")
    if spinning:
        says.append("Idle threads that spin take time from the process whose turn it is, on the same cores.")
    return VARIABLES.could_be_better(reading, " ".join(says), f"unset {' '.join([*placing, *spinning])}")
