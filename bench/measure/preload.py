"""Import in the fork server what takes seconds, so that each launch saves them, without querying the device.

That is torch.compile; pandas and scipy, which a worker needs and no revision has of its own; and the modules in the
variable PRELOAD, which the workloads need.

Torch 2.11 calls ``torch.cuda.is_available()`` while its inductor is imported. That starts CUDA's runtime, which no
forked process can use once its parent has: every launch on a GPU would fail with "Cannot re-initialize CUDA in forked
subprocess". Torch only chooses a benchmarker for GPU kernels with the answer, and transformers the optional kernels of
some models, so ``is_built`` can replace the call.

Garbage is not collected meanwhile: every collection visits all modules so far, which took a fifth of the imports' time.
The modules are then frozen: no collection in a launch visits them, which would also copy their pages.
"""

import contextlib
import gc
import importlib
import os

gc.disable()

import pandas  # noqa: E402, F401
import scipy.special  # noqa: E402, F401
import torch  # noqa: E402

from loopmark.bench.measure.entry import PRELOAD, restore_variables  # noqa: E402

modules = os.environ[PRELOAD].split()
restore_variables()
asks, torch.cuda.is_available = torch.cuda.is_available, torch.backends.cuda.is_built
try:
    import torch._dynamo
    import torch._inductor.compile_fx

    for module in modules:
        with contextlib.suppress(Exception):  # the launch that needs it tells the reason
            importlib.import_module(module)
finally:
    torch.cuda.is_available = asks
    gc.enable()
    gc.freeze()
