"""The type that a matrix product counts in."""

from types import SimpleNamespace

import pytest
import torch

from loopmark.bench.measure.work.flops import _kind

ON_CUDA = SimpleNamespace(dtype=torch.float32, device=torch.device("cuda:0"))


@pytest.mark.parametrize(("capability", "kind"), [((7, 5), "float32"), ((8, 0), "tf32"), ((9, 0), "tf32")])
def test_a_float32_convolution_is_one_in_tf32_only_where_the_device_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], kind: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    assert torch.backends.cudnn.allow_tf32  # as torch has it by default
    assert _kind(ON_CUDA, convolves=True) == kind
