"""What the kernel does to clocks and addresses, and what lies below and around it."""

from loopmark.bench.measure.doctor.host import Host
from loopmark.bench.records.checks import Check, Finding

CLOCK = "sys/devices/system/clocksource/clocksource0"
QUICK_CLOCKS = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page", "timebase")
"""Those that a process reads without a system call."""
RANDOMISATION = {0: "off", 1: "on, but for the heap", 2: "on"}

CLOCK_SOURCE = Check(
    "processor",
    "clock source",
    "A lap reads the clock once; a clock that takes a system call, or a device's register, adds to every phase.",
)
LAYOUT = Check(
    "processor",
    "address randomisation",
    "Each process gets another layout of its memory, and some layouts are a little faster. Loopmark measures several "
    "launches for that reason; it protects against attacks, so leave it on.",
)
MACHINE = Check(
    "processor",
    "virtual machine",
    "Cores, caches and memory of a virtual machine may be shared with others, which its own kernel cannot see.",
)
CONTAINER = Check(
    "processor",
    "container",
    "A container costs a step nothing by itself; its limits are told under `CPU quota` and `allowed cores`.",
)


def clock_source(host: Host) -> Finding:
    """The clock behind ``time.perf_counter``."""
    current = host.text(f"{CLOCK}/current_clocksource")
    if current is None:
        return CLOCK_SOURCE.not_known("the kernel does not show it")
    if current in QUICK_CLOCKS:
        return CLOCK_SOURCE.good(current)
    others = (host.text(f"{CLOCK}/available_clocksource") or "").split()
    quick = next((name for name in QUICK_CLOCKS if name in others), None)
    if quick is None:
        return CLOCK_SOURCE.could_be_better(
            current, "The kernel offers no quicker one; compare whole steps, not short phases."
        )
    return CLOCK_SOURCE.bad(
        current,
        f"Use {quick}. The kernel may have had its reasons against it: look for `clocksource` in its messages first.",
        "sudo dmesg | grep -i clocksource",
        f"echo {quick} | sudo tee /{CLOCK}/current_clocksource",
    )


def address_randomisation(host: Host) -> Finding:
    """Only told."""
    level = host.number("proc/sys/kernel/randomize_va_space")
    if level is None:
        return LAYOUT.not_known("the kernel does not show it")
    return LAYOUT.good(RANDOMISATION.get(level, str(level)))


def virtual_machine(host: Host) -> Finding:
    """Whether the hardware is another kernel's."""
    names = (host.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    maker = " ".join(name for name in names if name)
    virtual = host.virtual()
    if virtual is None:
        return MACHINE.not_known(
            "this processor has no mark for it" + (f"; the hardware calls itself {maker}" if maker else "")
        )
    if not virtual:
        return MACHINE.good("no hypervisor is noticed" + (f": {maker}" if maker else ""))
    return MACHINE.could_be_better(
        "yes" + (f": {maker}" if maker else ""),
        "Compare loops within one run, not seconds between runs, and learn what differences show here; or use a "
        "machine of your own.",
        "loopmark calibrate",
    )


def container(host: Host) -> Finding:
    """Only told."""
    marks = (".dockerenv", "run/.containerenv")
    if maker := host.text("run/systemd/container"):
        return CONTAINER.good(f"yes: {maker}")
    mark = next((mark for mark in marks if host.present(mark)), None)
    if mark is None and any(word in (host.text("proc/1/cgroup") or "") for word in ("docker", "kubepods", "lxc")):
        mark = "proc/1/cgroup"
    return CONTAINER.good(f"yes, says /{mark}" if mark else "none is noticed")
