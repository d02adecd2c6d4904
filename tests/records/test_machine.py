import re
from dataclasses import asdict, dataclass, replace
from typing import Annotated

import pytest

from loopmark.bench.records.files import decode
from loopmark.bench.records.machine import Fact, Gpu, Machine, facts_of

H200 = Gpu("NVIDIA H200", 140 * 2**30, "9.0", 132)
XEON = Machine("Intel(R) Xeon(R) CPU @ 2.20GHz", 1, 2, 8 * 2**30, "x86_64", "Linux 6.1.0-28-amd64")
SERVER = replace(XEON, gpus=(H200,))


def test_a_cpu_machine_is_named_by_its_processor_and_cores() -> None:
    assert XEON.name == f"intel-xeon-1-core-{XEON.fingerprint}"


def test_a_gpu_machine_is_named_by_its_gpu() -> None:
    assert SERVER.name == f"nvidia-h200-{SERVER.fingerprint}"


@pytest.mark.parametrize(
    ("cpu", "slug"),
    [
        ("AMD EPYC 9654 96-Core Processor", "amd-epyc-9654-96-core-1-core"),
        ("Intel(R) Core(TM) i7-1165G7 @ 2.80GHz", "intel-core-i7-1165g7-1-core"),
        ("../../etc/passwd", "etc-passwd-1-core"),
        ("a/b\\c:d*e\0f\ng", "a-b-c-d-e-f-g-1-core"),
        ("Процессор", "1-core"),
        ("", "1-core"),
    ],
)
def test_the_name_is_one_plain_folder_name(cpu: str, slug: str) -> None:
    assert replace(XEON, cpu=cpu).name.rpartition("-")[0] == slug


@pytest.mark.parametrize("length", range(40, 60))
def test_a_long_name_is_cut_without_a_trace(length: int) -> None:
    name = replace(SERVER, gpus=(replace(H200, name="x" * length + " and more of it"),)).name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{6}", name)
    assert len(name) <= 48 + 7


def test_a_gpu_without_a_name_still_has_a_folder() -> None:
    assert replace(SERVER, gpus=(replace(H200, name="???"),)).name.startswith("unknown-")


def test_the_fingerprint_is_six_hexadecimal_digits_and_the_same_everywhere() -> None:
    # Committed folders carry these names; a change here would orphan them.
    assert (XEON.fingerprint, SERVER.fingerprint) == ("40894e", "fb6fa0")


@pytest.mark.parametrize("machine", [XEON, SERVER])
def test_a_kernel_update_does_not_make_another_machine(machine: Machine) -> None:
    assert replace(machine, operating_system="Linux 7.0").fingerprint == machine.fingerprint


def test_a_few_mebibytes_more_or_less_do_not_make_another_machine() -> None:
    for mebibytes in (-40, 40):
        rebooted = replace(SERVER, memory_bytes=SERVER.memory_bytes + mebibytes * 2**20)
        updated = replace(SERVER, gpus=(replace(H200, memory_bytes=H200.memory_bytes + mebibytes * 2**20),))
        assert rebooted.fingerprint == updated.fingerprint == SERVER.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        replace(SERVER, cpu="another"),
        replace(SERVER, physical_cores=2),
        replace(SERVER, logical_cores=4),
        replace(SERVER, memory_bytes=16 * 2**30),
        replace(SERVER, architecture="aarch64"),
        replace(SERVER, gpus=()),
        replace(SERVER, gpus=(H200, H200)),
        replace(SERVER, gpus=(replace(H200, name="NVIDIA H100"),)),
        replace(SERVER, gpus=(replace(H200, memory_bytes=80 * 2**30),)),
        replace(SERVER, gpus=(replace(H200, compute_capability="10.0"),)),
        replace(SERVER, gpus=(replace(H200, multiprocessors=114),)),
    ],
)
def test_other_hardware_makes_another_machine(changed: Machine) -> None:
    assert changed.fingerprint != SERVER.fingerprint


@dataclass(frozen=True)
class NewerGpu(Gpu):
    bus_bits: Annotated[int | None, Fact("bus bits", decides=True)] = None


@dataclass(frozen=True)
class Newer(Machine):
    """A machine with facts that a later version added."""

    sockets: Annotated[int | None, Fact("sockets", decides=True)] = None
    bios: Annotated[str | None, Fact("BIOS")] = None


def newer(machine: Machine, **facts: object) -> Newer:
    gpus = tuple(NewerGpu(**asdict(gpu)) for gpu in machine.gpus)
    return Newer(**{**{name: getattr(machine, name) for name in asdict(machine)}, "gpus": gpus, **facts})


@pytest.mark.parametrize("machine", [XEON, SERVER])
def test_a_new_fact_that_is_not_known_leaves_a_machine_its_name(machine: Machine) -> None:
    assert newer(machine).name == machine.name


@pytest.mark.parametrize("machine", [XEON, SERVER])
def test_a_run_that_is_older_than_a_fact_is_read_and_its_machine_keeps_its_name(machine: Machine) -> None:
    kept = decode(Newer, asdict(machine))
    assert (kept.sockets, kept.bios, kept.name) == (None, None, machine.name)


def test_a_new_fact_makes_another_machine_only_where_it_decides() -> None:
    assert newer(SERVER, bios="1.2").name == SERVER.name
    assert newer(SERVER, sockets=2).name != SERVER.name
    assert newer(SERVER, gpus=(NewerGpu(**asdict(H200), bus_bits=512),)).name != SERVER.name


def test_a_new_fact_is_told_after_the_others() -> None:
    assert [(fact.label, value) for fact, value in facts_of(newer(XEON, sockets=2))][-2:] == [
        ("sockets", 2),
        ("BIOS", None),
    ]
    assert str(NewerGpu(**asdict(H200), bus_bits=512)) == "NVIDIA H200 140 GiB bus bits 512"


def test_what_an_imported_run_does_not_tell_of_a_machine_is_part_of_its_name() -> None:
    bare = Machine("unknown", None, None, None, "unknown", "unknown", (Gpu("A", None, None, None),))
    assert (bare.name, replace(bare, gpus=()).fingerprint) == ("a-628ffc", "374042")
