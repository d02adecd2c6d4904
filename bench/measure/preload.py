"""The fork server's imports, seconds that no launch has to spend: of torch.compile, without a question to the device,
and of what a worker needs that no revision has of its own.

Torch 2.11 asks ``torch.cuda.is_available()`` while its inductor is imported. CUDA's runtime answers, which
no forked process can use once its parent has: every launch on a GPU would end in "Cannot re-initialize CUDA in forked
subprocess". Torch chooses a benchmarker for GPU kernels by the answer, so whether torch is built for CUDA says enough.
"""

import pandas  # noqa: F401
import scipy.special  # noqa: F401
import torch

from loopmark.bench.measure.entry import restore_variables

restore_variables()
asks, torch.cuda.is_available = torch.cuda.is_available, torch.backends.cuda.is_built
try:
    import torch._dynamo
    import torch._inductor.compile_fx
finally:
    torch.cuda.is_available = asks
