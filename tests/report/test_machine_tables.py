from dataclasses import replace

from loopmark.bench.records.run import GpuState, Run
from loopmark.bench.report.machine_tables import gpu_table
from tests.support.synthetic import Truth, make_run


def run_with(*states: GpuState | None) -> Run:
    """A run whose launches ended with the GPU in these states."""
    run, _ = make_run([Truth("eager")], launches=len(states), rounds=1)
    launches = tuple(replace(one, gpu=state) for one, state in zip(run.cases[0].launches, states, strict=True))
    return replace(run, cases=(replace(run.cases[0], launches=launches),))


def test_figures_are_told_from_the_lowest_to_the_highest() -> None:
    table = gpu_table(
        run_with(GpuState(54.0, 310.0, 700.0, 1.98e9), GpuState(61.0, 295.0, 700.0, 1.755e9), None)
    ).as_markdown()
    assert "| temperature | 54 to 61 °C |" in table
    assert "| power | 295 to 310 W |" in table
    assert "| power limit | 700 W |" in table
    assert "| multiprocessors' clock | 1,760 to 1,980 MHz |" in table


def test_switches_are_told_as_they_stood_and_what_nobody_said_is_left_out() -> None:
    table = gpu_table(run_with(GpuState(ecc=True, mig=False), GpuState(ecc=True, mig=True))).as_markdown()
    assert "| ECC | on |" in table
    assert "| MIG | off and on |" in table
    assert "power" not in table


def test_a_run_without_a_gpu_has_no_such_table() -> None:
    assert not gpu_table(run_with(None, None))
    assert not gpu_table(run_with(GpuState()))
