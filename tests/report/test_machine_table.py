"""The machine's table on a run's page: its facts and their order; a new fact needs no extra code."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated

from loopmark.bench.records.machine import Environment, Fact, Machine
from loopmark.bench.report.machine_tables import machine_table
from tests.support.synthetic import environment, machine


def rows(of: Machine, software: Environment) -> dict[str, str]:
    return {str(name): str(text) for name, text in machine_table(of, software).rows}


def test_hardware_comes_first_and_long_lists_last() -> None:
    software = replace(environment(), revision="abc", variables={"OMP_NUM_THREADS": "2", "CXX": "g++"})
    told = rows(machine(gpu=True), software)

    assert list(told) == [
        "machine", "CPU", "memory", "GPU", "system", "torch", "Python", "Loopmark", "threads", "CPU capability",
        "compiler", "huge pages", "variables", "packages",
    ]  # fmt: skip
    assert told["CPU"] == "Imaginary CPU, 2 cores, 4 threads"
    assert told["system"] == "Linux 6.1, x86_64"
    assert told["GPU"].startswith("NVIDIA Imaginary 1, ")
    assert told["GPU"].endswith("compute capability 9.0")
    assert told["Loopmark"] == "0.1.0, abc"
    assert told["threads"] == "2, pinned to logical cores 0, 1"
    assert told["variables"] == "CXX=g++ OMP_NUM_THREADS=2"


def test_what_an_imported_run_does_not_tell_has_no_row() -> None:
    bare = Machine("Imaginary CPU", None, None, None, "x86_64", "Linux 6.1")
    told = rows(bare, replace(environment(), torch=None, threads=None, packages={}))

    assert told["CPU"] == "Imaginary CPU"
    assert not {"memory", "torch", "threads", "packages", "GPU"} & told.keys()


@dataclass(frozen=True)
class Newer(Machine):
    sockets: Annotated[int | None, Fact("sockets")] = None


def test_a_new_fact_has_a_row_once_it_is_known() -> None:
    facts = {name: getattr(machine(), name) for name in asdict(machine())}

    assert rows(Newer(**facts, sockets=2), environment())["sockets"] == "2"
    assert "sockets" not in rows(Newer(**facts), environment())
