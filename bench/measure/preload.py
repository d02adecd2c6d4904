"""Import in the fork server what takes seconds, so that each launch saves them, without querying the device.

That is torch.compile, and pandas and scipy, which a worker needs and no revision has of its own.

Torch 2.11 calls ``torch.cuda.is_available()`` while its inductor is imported. That starts CUDA's runtime, which no
forked process can use once its parent has: every launch on a GPU would fail with "Cannot re-initialize CUDA in forked
subprocess". Torch only chooses a benchmarker for GPU kernels with the answer, so ``is_built`` can replace the call.
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
