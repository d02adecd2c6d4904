"""Float64, on every device."""

from torch import Tensor


def double(tensor: Tensor) -> Tensor:
    """``tensor`` in float64, which Apple's GPUs lack: of one on them, a copy on the CPU."""
    return tensor.cpu().double() if tensor.device.type == "mps" else tensor.double()
