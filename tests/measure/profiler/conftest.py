from tests.loops.conftest import _one_thread_so_that_a_busy_machine_is_not_waited_for  # noqa: F401
