from pathlib import Path

import pytest

from loopmark.bench.measure.doctor.variables import thread_variables, threads
from tests.support.hosts import host


@pytest.mark.parametrize(
    ("variables", "state", "commands"),
    [
        ({}, "good", ()),
        ({"PATH": "/bin", "OMP_NUM_THREADS": ""}, "good", ()),
        ({"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "2"}, "good", ()),
        ({"OMP_WAIT_POLICY": "passive"}, "good", ()),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "could be better", ("unset OMP_WAIT_POLICY",)),
        ({"GOMP_CPU_AFFINITY": "0-1", "OMP_PROC_BIND": "true"}, "could be better",
         ("unset OMP_PROC_BIND GOMP_CPU_AFFINITY",)),
    ],
)  # fmt: skip
def test_variables_that_place_threads_or_let_them_spin_could_be_better(
    tmp_path: Path, variables: dict[str, str], state: str, commands: tuple[str, ...]
) -> None:
    found = thread_variables(host(tmp_path, variables=variables))
    assert (found.state, found.commands) == (state, commands)


def test_every_variable_that_is_set_is_told_with_its_value(tmp_path: Path) -> None:
    found = thread_variables(host(tmp_path, variables={"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "2", "HOME": "/x"}))
    assert found.reading.startswith("MKL_NUM_THREADS=2, OMP_NUM_THREADS=4; ")


def test_the_threads_of_a_run_are_told_with_their_cores(tmp_path: Path) -> None:
    assert threads(host(tmp_path)).reading == "2 by default, on cores 0-1"
    assert threads(host(tmp_path, cores=(), threads=3)).reading == "3 by default, not pinned"
