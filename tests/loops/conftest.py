from collections.abc import Iterator

import pytest
import torch

from tests.support.fake_cuda import cuda  # noqa: F401 - a fixture


@pytest.fixture(scope="session", autouse=True)
def _compiled_code_goes_to_a_folder_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("inductor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        patch.setenv("TRITON_CACHE_DIR", str(folder / "triton"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread_so_that_a_busy_machine_is_not_waited_for() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
