from dataclasses import asdict, dataclass, replace
from typing import Annotated

from loopmark.bench.judge.differences import differences, unlike
from loopmark.bench.records.machine import Fact, Machine
from loopmark.bench.records.run import Run
from tests.support.synthetic import Truth, make_run


def run(gpu: bool = False) -> Run:
    return make_run([Truth("eager")], rounds=1, launches=1, device=gpu)[0]


def test_equal_runs_differ_in_nothing() -> None:
    assert differences(run(), run()) == ()


def test_every_change_of_software_is_a_sentence_with_both_sides() -> None:
    base = run()
    environment = replace(
        base.environment, torch="2.12.0", driver="570.1", compiler="g++ 13", governor="powersave", threads=1, cores=(),
        packages={"numpy": "2.1.0", "triton": "3.0"}, variables={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert set(differences(replace(base, environment=environment), base)) == {
        "torch 2.12.0 → 2.13.0", "driver 570.1 → none", "compiler g++ 13 → g++ 12", "governor powersave → none",
        "threads 1 → 2", "cores not pinned → 0, 1", "package numpy 2.1.0 → 2.0.0", "package triton 3.0 → none",
        "OMP_NUM_THREADS 1 → none",
    }  # fmt: skip


def test_hardware_data_and_what_was_asked_are_named_too() -> None:
    base = run()
    head = replace(
        base,
        machine=replace(base.machine, cpu="Other CPU", memory_bytes=32 * 2**30),
        plan=replace(base.plan, seed=1, size="large"),
        cases=tuple(replace(case, data_sha256="cd" * 32) for case in base.cases),
    )
    assert set(differences(base, head)) == {
        "CPU Imaginary CPU → Other CPU", "memory 16 GiB → 32 GiB", "size small → large", "seed 0 → 1",
        "data of resnet, SHA-256 abababababab → cdcdcdcdcdcd",
    }  # fmt: skip


def test_torch_is_named_once_although_it_is_a_package_as_well() -> None:
    base = run()
    environment = replace(base.environment, torch="2.12.0", packages={**base.environment.packages, "torch": "2.12.0"})
    assert differences(replace(base, environment=environment), base) == ("torch 2.12.0 → 2.13.0",)


def test_of_many_runs_only_what_is_not_the_same_everywhere_is_told_with_what_each_says() -> None:
    base = run()
    other = replace(base, environment=replace(base.environment, torch="2.12.0", packages={"numpy": "2.0.0", "x": "1"}))
    moved = replace(base, cases=tuple(replace(case, data_sha256="cd" * 32) for case in base.cases))

    assert unlike([base, other, moved]) == {
        "torch": ("2.13.0", "2.12.0", "2.13.0"),
        "package x": ("none", "1", "none"),
        "data of resnet, SHA-256": ("abababababab", "abababababab", "cdcdcdcdcdcd"),
    }
    assert unlike([base, base]) == unlike([]) == {}


def test_a_run_that_did_not_use_some_data_does_not_differ_in_it() -> None:
    base = run()
    without = replace(base, cases=tuple(replace(case, workload="gpt") for case in base.cases))
    assert unlike([base, without]) == {}


def test_what_libraries_set_for_themselves_is_no_difference() -> None:
    base = run()
    imported = {"KMP_INIT_AT_FORK": "FALSE", "KMP_DUPLICATE_LIB_OK": "True", "TORCHINDUCTOR_CACHE_DIR": "/tmp/x"}
    assert differences(base, replace(base, environment=replace(base.environment, variables=imported))) == ()


@dataclass(frozen=True)
class Newer(Machine):
    sockets: Annotated[int | None, Fact("sockets")] = None


def test_a_fact_of_the_machine_that_is_declared_is_compared_without_further_ado() -> None:
    base = run()
    machine = {name: getattr(base.machine, name) for name in asdict(base.machine)}
    one, two, older = (replace(base, machine=Newer(**machine, sockets=count)) for count in (1, 2, None))

    assert differences(one, two) == ("sockets 1 → 2",)
    assert differences(older, two) == ("sockets none → 2",)
    assert unlike([one, two, replace(older, imported_from="x")]) == {"sockets": ("1", "2", "unknown")}
