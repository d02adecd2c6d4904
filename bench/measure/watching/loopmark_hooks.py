"""The hooks in a watched Python: they time each training step, phase by phase, and change nothing of it.

This file is loaded by its path into any Python from 3.9 on, without Loopmark. It imports torch only after the script.

A step ends with the last ``optimizer.step()`` before the next forward or backward pass; what comes after that belongs
to the next step. Laps share their boundaries, so the phases add up to the step. The sources of the marks are torch's
hooks of optimizers and modules, and, where torch has none, a wrapper around ``zero_grad``, ``torch.autograd.backward``
and the iterators of ``DataLoader``. Nothing here waits for a device. An error here ends the watching, not the script.

Each hook asks first whether torch.compile traces it: what it read before would become a guard of the compiled code.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import math
import os
import random
import signal
import socket
import sys
import threading
import time
from array import array
from collections import deque

FOLDER, STEPS, TURNS = "LOOPMARK_WATCH", "LOOPMARK_STEPS", "LOOPMARK_TURNS"
"""Environment variables: the folder for the rows, the steps after which the script gets Ctrl-C, the socket of `ab`."""

PHASES = (
    "data", "zero_grad", "forward", "loss", "backward", "optimizer", "validation", "inference", "graph replay",
    "other before forward", "other before backward", "other before optimizer", "other after optimizer",
)  # fmt: skip
(
    DATA, ZERO_GRAD, FORWARD, LOSS, BACKWARD, OPTIMIZER, VALIDATION, INFERENCE, REPLAY,
    BEFORE_FORWARD, BEFORE_BACKWARD, BEFORE_OPTIMIZER, AFTER_OPTIMIZER,
) = range(len(PHASES))  # fmt: skip
EVENTS = ("first of an epoch", "validation", "checkpoint", "garbage collection", "compilation")
EPOCH, EVALUATES, SAVES, COLLECTS, COMPILES = (1 << n for n in range(len(EVENTS)))

COLUMNS = (
    "step", "ended", "seconds", "device_seconds", "lapped", "counts", "block", "events", "samples", "loss_seen",
    "memory",
)  # fmt: skip
"""The columns of a row before the phases' host seconds and, on a GPU, device seconds. ``ended`` and ``seconds`` are
of ``time.perf_counter``; ``counts`` is 0 for the first step after the hooks were switched; ``events`` has bits."""

BLOCK_SECONDS = 0.02
MOST_COST = 0.005  # the share of the run's time that the laps may cost: where they cost more, fewer blocks have them
FULL_QUADS, RARE = 20, 8  # the first quads of blocks are mixed, with and without laps; then one in eight
FLUSH_SECONDS = 0.5
MOST_ROWS = 200_000  # from then on only some blocks are kept: half as many with each doubling
RELEARN = 5  # times to look for the outermost modules anew

# Where the script stands: after an optimizer's step, after a batch came, after a forward pass, after a backward pass.
_STEPPED, _FETCHED, _PASSED, _RETURNED = range(4)
_GAPS = (
    {},  # after an optimizer's step: always AFTER_OPTIMIZER
    {BACKWARD: BEFORE_BACKWARD, OPTIMIZER: BEFORE_OPTIMIZER},
    {BACKWARD: LOSS, ZERO_GRAD: LOSS, OPTIMIZER: BEFORE_OPTIMIZER},
    {BACKWARD: LOSS, ZERO_GRAD: BEFORE_OPTIMIZER, OPTIMIZER: BEFORE_OPTIMIZER},
)
"""The name of the time before a phase begins, by where the script stands; else BEFORE_FORWARD."""
_AREAS = {DATA: _FETCHED, FORWARD: _PASSED, BACKWARD: _RETURNED, REPLAY: _RETURNED}

_ABSENT = [math.nan] * len(PHASES)

clock = time.perf_counter


def _survives(method):
    """The method, whose errors end the watching and never reach the script."""

    @functools.wraps(method)
    def safe(self, *args):
        try:
            return method(self, *args)
        except Exception as error:
            self.fail(error)

    return safe


class Recorder:
    """The laps of one process, step by step, and the rows that they become."""

    def __init__(self, folder, steps=0, turns=None):
        self.folder, self.limit, self.socket = folder, steps, turns
        self.torch = sys.modules["torch"]
        self.is_compiling = self.torch.compiler.is_compiling
        tensor = self.torch.Tensor
        self.size_of = lambda batch: size_of(batch, tensor)
        self.handles, self.roots, self.learned, self.undo = [], [], 0, []
        self.rows, self.file, self.pending, self.pool = array("d"), None, deque(), []
        self.reset()

    def reset(self):
        """Begin anew: at the start, and in a forked child."""
        self.thread = self.device = self.error = self.ended = self.turns = self.capturing = None
        self.laps = self.learning = self.counts = self.reads_loss = False
        self.unseen = True
        self.step = self.stepping = self.depth = self.kept = 0
        self.in_backward = self.in_data = self.evaluating = self.forwarded = False
        self.area, self.last, self.before, self.flushed = _STEPPED, 0.0, 0.0, 0.0
        self.now, self.done = [0.0] * len(PHASES), [0.0] * len(PHASES)
        self.events_now, self.events_done, self.start_event = [], [], None
        self.flags, self.samples, self.loss, self.compiled = 0, 0, None, 0
        self.flags_done = self.samples_done = 0
        self.training_sets, self.evaluating_sets, self.fetched = set(), set(), None
        self.block, self.left, self.quad = -1, 0, []
        self.facts, self.times, self.blocks, self.drops = {}, [], [], False
        self.costs = deque(maxlen=100)  # of the last mixed quads, as log ratios
        self.random = random.Random(os.urandom(8))  # not the script's generator

    # Laps

    def lap(self, code):
        """End a lap: the time since the last one is of phase ``code``."""
        now = clock()
        self.now[code] += now - self.last
        self.last = now
        if self.device is not None:
            self.events_now.append((code, self.event()))

    def enter(self, kind):
        """A phase begins: the time before it gets a name by where the script stands."""
        if self.unseen and self.area == _RETURNED and self.unseen_update():
            self.update()
            if kind == FORWARD:
                self.close()
        if self.stepping:
            code = OPTIMIZER
        elif self.evaluating:
            code = self.evaluating
        elif self.area == _STEPPED:
            code = AFTER_OPTIMIZER
        else:
            code = _GAPS[self.area].get(kind, BEFORE_FORWARD)
        now = clock()
        self.now[code] += now - self.last
        self.last = now
        if self.device is not None:
            self.events_now.append((code, self.event()))

    def leave(self, kind):
        """A phase ends."""
        self.lap(kind)
        self.area = _AREAS.get(kind, self.area)

    def event(self):
        """A recorded CUDA event on the current stream; None while a graph is captured."""
        cuda = self.torch.cuda
        with contextlib.suppress(Exception):
            if not cuda.is_current_stream_capturing():
                event = self.pool.pop() if self.pool else cuda.Event(enable_timing=True)
                event.record()
                return event
        return None

    # The marks

    def before_optimizer(self, optimizer, args, kwargs):  # noqa: ARG002 - torch gives them
        if self.is_compiling() or self.error:
            return
        if self.thread is None:
            self.begin()
        elif threading.get_ident() != self.thread:
            return
        self.unseen = False
        if self.laps and not self.stepping:
            self.enter(OPTIMIZER)
        self.stepping += 1

    def after_optimizer(self, optimizer, args, kwargs):  # noqa: ARG002
        if self.is_compiling() or self.error or threading.get_ident() != self.thread:
            return
        self.stepping = max(0, self.stepping - 1)
        if self.capturing is not None:
            self.capturing._loopmark_steps = True
            return
        if not self.stepping:
            self.update()

    def update(self):
        """An optimizer has stepped: the step ends here, unless another one steps before the next pass."""
        if self.laps:
            self.lap(OPTIMIZER)
        else:
            self.last = clock()
            if self.device is not None:
                self.events_now.append((OPTIMIZER, self.event()))
        if self.ended is None:
            self.now, self.done = self.done, self.now
            self.events_now, self.events_done = self.events_done, self.events_now
            self.flags_done, self.samples_done = self.flags, self.samples
        else:
            for code, seconds in enumerate(self.now):
                self.done[code] += seconds
                self.now[code] = 0.0
            self.events_done += self.events_now
            self.events_now.clear()
            self.flags_done, self.samples_done = self.flags_done | self.flags, self.samples_done + self.samples
        self.flags, self.samples = 0, 0
        self.ended, self.area, self.depth, self.evaluating = self.last, _STEPPED, 0, False
        if self.limit and self.step + 1 == self.limit and not self.facts.get("rank"):
            self.limit = 0
            self.close()
            self.flush()
            os.kill(os.getpid(), signal.SIGINT)

    def before_forward(self, module, args):
        if self.is_compiling() or self.in_backward or self.error or threading.get_ident() != self.thread:
            return
        self.depth += 1
        if self.depth > 1:
            return
        if self.learning and all(module is not root for root in self.roots):
            self.roots.append(module)
        if self.torch.is_grad_enabled():
            if self.ended is not None:
                self.close()
            self.evaluating, kind = False, FORWARD
        else:
            kind = INFERENCE if module.training else VALIDATION
            self.evaluate(kind)
        if self.laps:
            self.enter(kind)
        if kind == FORWARD:
            self.forwarded = True
            if self.fetched is not None:
                self.training_sets.add(self.fetched)
            elif not self.samples:
                self.samples = self.size_of(args)

    def after_forward(self, module, args, output):  # noqa: ARG002
        if self.is_compiling() or self.in_backward or self.error or threading.get_ident() != self.thread:
            return
        self.depth = max(0, self.depth - 1)
        if not self.depth and self.laps:
            self.leave(self.evaluating or FORWARD)

    @_survives
    def evaluate(self, kind):
        """A forward pass without gradients: its batches are not training's."""
        if self.evaluating != kind:
            self.evaluating = kind
            self.flags |= EVALUATES if kind == VALIDATION else 0
            if self.fetched is not None and self.fetched not in self.training_sets and self.laps:
                self.now[kind] += self.now[DATA]
                self.now[DATA] = 0.0
                self.samples = 0
        if self.fetched is not None and self.fetched not in self.training_sets:
            self.evaluating_sets.add(self.fetched)

    def around_backward(self, original):
        is_compiling, ident = self.is_compiling, threading.get_ident

        def backward(tensors, *args, **kwargs):
            if is_compiling() or self.in_backward or self.error:
                return original(tensors, *args, **kwargs)
            if self.thread is None:
                self.begin()
            if ident() != self.thread:
                return original(tensors, *args, **kwargs)
            if self.unseen and self.ended is None and self.unseen_update():
                self.update()
            if self.ended is not None:
                self.close()
            if not self.learned:
                self.learn()
            if not (self.laps or self.learning):  # a pass recomputed in a backward pass is no outermost one
                return original(tensors, *args, **kwargs)
            self.evaluating = False
            self.enter(BACKWARD)
            self.in_backward = True
            try:
                return original(tensors, *args, **kwargs)
            finally:
                self.in_backward = False
                self.leave(BACKWARD)
                if self.reads_loss:
                    self.note_loss(tensors)

        return backward

    def unseen_update(self):
        """True if an optimizer stepped without its hooks, as in a compiled function: a parameter's version tells."""
        if (watched := self.watched()) is None:
            return False
        version, self.version = self.version, watched._version
        return version is not None and version != self.version

    def note_loss(self, tensors):
        """Read the loss now and then: it takes microseconds. On a GPU it would wait for the end of the step."""
        self.reads_loss = False
        loss = tensors[0] if isinstance(tensors, (tuple, list)) and tensors else tensors
        with contextlib.suppress(Exception):
            if loss.numel() == 1 and self.turns is not None:
                self.loss = loss.detach()  # read after the turn
            elif loss.numel() == 1 and loss.device.type == "cpu":
                value = loss.item()
                self.loss = value if math.isfinite(value) else math.inf  # NaN: not read

    def around_next(self, original):
        ident = threading.get_ident

        def __next__(iterator):  # noqa: N807 - it takes its place
            if not self.laps or self.in_data or self.stepping or ident() != self.thread:
                if self.evaluating_sets and id(iterator._dataset) in self.evaluating_sets - self.training_sets:
                    self.flags |= EVALUATES
                return original(iterator)
            dataset = iterator._dataset
            self.fetched = fetched = id(dataset)
            if self.evaluating_sets:
                known = fetched in self.evaluating_sets and fetched not in self.training_sets
                self.evaluating = (self.evaluating or VALIDATION) if known else False
                self.flags |= EVALUATES if known else 0
            self.enter(DATA)
            self.in_data = True
            try:
                batch = original(iterator)
            finally:
                self.in_data = False
                self.leave(self.evaluating or DATA)
            if not self.evaluating:
                self.samples += self.size_of(batch)
            return batch

        return __next__

    def around_iter(self, original):
        def __iter__(loader):  # noqa: N807
            if self.in_data or threading.get_ident() != self.thread:
                return original(loader)
            if id(loader.dataset) not in self.evaluating_sets:
                self.flags |= EPOCH
            if not self.laps:
                return original(loader)
            self.enter(DATA)
            self.in_data = True
            try:
                return original(loader)
            finally:
                self.in_data = False
                self.leave(self.evaluating or DATA)

        return __iter__

    def around_zero_grad(self, original):
        is_compiling, ident = self.is_compiling, threading.get_ident

        def zero_grad(optimizer, *args, **kwargs):
            if is_compiling() or not self.laps or self.in_backward or ident() != self.thread:
                return original(optimizer, *args, **kwargs)
            self.enter(ZERO_GRAD)
            try:
                return original(optimizer, *args, **kwargs)
            finally:
                self.leave(ZERO_GRAD)

        return zero_grad

    def around_save(self, original):
        def save(*args, **kwargs):
            self.flags |= SAVES
            return original(*args, **kwargs)

        return save

    def around_capture(self, original, *, begins):
        def capture(graph, *args, **kwargs):
            self.capturing = graph if begins else None
            return original(graph, *args, **kwargs)

        return capture

    def around_replay(self, original):
        """A captured graph runs: if an optimizer stepped in its capture, it is a step."""

        def replay(graph):
            steps = getattr(graph, "_loopmark_steps", False)
            if steps and self.ended is not None:
                self.close()
            if not self.laps:
                original(graph)
            else:
                self.enter(REPLAY)
                original(graph)
                self.leave(REPLAY)
            if steps:
                self.update()

        return replay

    def note_collection(self, phase, info):
        if phase == "stop" and info.get("generation") == 2:
            self.flags |= COLLECTS

    # Steps and blocks

    @_survives
    def begin(self):
        """The first backward pass or optimizer's step of this process."""
        self.thread, self.version, self.watched = threading.get_ident(), None, lambda: None
        self.last = self.before = clock()
        if self.socket is not None and not rank_of(self.torch):  # the other ranks follow rank 0
            with contextlib.suppress(OSError):
                self.turns = Turns(self.socket)

    @_survives
    def learn(self):
        """Hook every module that trains for one step, to see which ones are the outermost."""
        import weakref

        torch = self.torch
        self.forget()
        self.learned += 1
        self.roots, self.learning = [], True
        modules, optimizers = [], []
        for thing in gc.get_objects():  # type, since isinstance would run a lazy object's code
            if issubclass(type(thing), torch.nn.Module):
                modules.append(thing)
            elif issubclass(type(thing), torch.optim.Optimizer):
                optimizers.append(thing)
        parameters = {id(p): p for one in optimizers for group in one.param_groups for p in group["params"]}
        trained = [p for p in parameters.values() if p.requires_grad]
        device = trained[0].device if trained else torch.device("cpu")
        if trained:
            self.watched = weakref.ref(trained[0])
            self.version = trained[0]._version
        for module in modules:
            with contextlib.suppress(Exception):
                if any(p.requires_grad for p in module.parameters()):
                    self.hook(module)
        self.device = device if device.type == "cuda" else None
        self.facts.update(
            pid=os.getpid(), rank=rank_of(torch), argv=sys.argv, python=sys.version.split()[0], torch=torch.__version__,
            cuda=torch.version.cuda or torch.version.hip, device=str(device), threads=torch.get_num_threads(),
            parameters=sum(p.numel() for p in trained), optimizers=sorted({type(one).__name__ for one in optimizers}),
        )  # fmt: skip

    def hook(self, module):
        compiled = getattr(module, "_compiled_call_impl", None)
        if compiled is None:
            self.handles.append(module.register_forward_pre_hook(self.before_forward))
            self.handles.append(module.register_forward_hook(self.after_forward))
        else:  # `module.compile()`: its hooks would become part of the compiled code
            self.handles.append(_Around(module, compiled, self))

    def forget(self):
        for handle in self.handles:
            handle.remove()
        self.handles, self.depth = [], 0

    @_survives
    def close(self):
        """The step is over: keep its row, and choose how to time the next one."""
        ended, self.ended = self.ended, None
        seconds, self.before = ended - self.before, ended
        step, self.step = self.step, self.step + 1
        if step == 0:
            self.facts["first_step"] = time.time() - (clock() - ended)
            self.facts["start"] = time.time() - clock()  # when the clock was 0
        if self.turns is not None:
            self.turns.add(self)
        elif self.block >= 0:
            self.keep(step, ended, seconds)
        self.done = [0.0] * len(PHASES)
        self.events_done.clear()
        free = self.turns is None or self.turns.lapped is None  # not within a block of a turn
        if not self.forwarded and self.laps and self.learned < RELEARN and not self.learning and free:
            self.learn()
        elif self.learning and self.laps:
            self.learning = False
            roots = self.roots
            self.forget()
            for module in roots:
                self.hook(module)
        self.forwarded = False
        self.loss = None
        self.choose(seconds)

    def choose(self, seconds):
        """Time the next step with laps or without, in quads of blocks; see ``new_quad``."""
        if self.learning or not self.learned:
            self.laps, self.counts = True, False
        elif self.turns is not None:
            self.turns.closed(self)
        else:
            self.counts = True
            self.times.append(seconds)
            self.left -= 1
            if self.left > 0:
                return
            if self.block >= 0:
                self.ended_block(sorted(self.times)[len(self.times) // 2])
            if not self.quad:
                self.quad = self.new_quad()
            self.block += 1
            self.left = max(1, min(1000, round(BLOCK_SECONDS / max(seconds, 1e-6))))
            laps, self.reads_loss = self.quad.pop(), True
            if laps != self.laps:
                self.counts, self.left = False, self.left + 1
                self.switch(laps)

    def ended_block(self, seconds):
        """Note a block's typical step, and with the last one of a mixed quad what the laps cost."""
        self.times.clear()
        self.blocks.append((self.laps, math.log(max(seconds, 1e-9))))
        if not self.quad:
            lapped, plain = ([log for laps, log in self.blocks if laps is which] for which in (True, False))
            if lapped and plain:
                self.costs.append(sum(lapped) / len(lapped) - sum(plain) / len(plain))
            self.blocks.clear()

    def new_quad(self):
        """Which of the next four blocks have laps: (with, without, without, with) or the reverse, or all alike."""
        self.drops = self.kept > MOST_ROWS and self.random.random() > MOST_ROWS / self.kept
        if len(self.costs) < FULL_QUADS or self.random.randrange(RARE) == 0:
            return [True, False, False, True] if self.random.random() < 0.5 else [False, True, True, False]
        cost = sorted(self.costs)[len(self.costs) // 2]
        share = 1.0 if cost <= MOST_COST else MOST_COST / cost
        return [self.random.random() * (RARE - 1) < share * RARE - 0.5] * 4

    def switch(self, laps):
        """Turn the laps on or off. Without them only the end of a step is seen."""
        self.laps, self.forwarded = laps, True  # the forward pass of this step may be over
        self.forget()
        if laps:
            for module in self.roots:
                self.hook(module)
            self.last = self.before
            self.area = _STEPPED

    def keep(self, step, ended, seconds):
        """Add the row of a step; on a GPU, as soon as its events are over."""
        laps = self.laps
        counter = sys.modules.get("torch._dynamo.utils")
        if counter is not None:
            compiled = counter.counters["stats"]["unique_graphs"]
            if compiled != self.compiled:
                self.compiled = compiled
                self.flags_done |= COMPILES
        flushes = ended - self.flushed > FLUSH_SECONDS
        memory = memory_of(self.torch, self.device) if flushes else math.nan
        row = [
            step, ended, seconds, math.nan, laps, self.counts, self.block, self.flags_done,
            self.samples_done or math.nan, math.nan if self.loss is None else self.loss, memory,
        ]  # fmt: skip
        row += self.done if laps else _ABSENT
        self.kept += 1
        if self.device is None and not self.drops:
            self.rows.extend(row)
        elif not self.drops:
            row += _ABSENT
            self.pending.append((row, self.start_event, self.events_done[:], laps))
            self.collect()
        self.start_event = self.events_done[-1][1] if self.events_done else None
        if flushes:
            self.flushed = ended
            self.flush()

    def collect(self, wait=False):
        """Read the events of the steps that the device has finished."""
        while self.pending:
            row, start, events, laps = self.pending[0]
            last = events[-1][1] if events else None
            if last is not None and not wait and not last.query():
                return
            self.pending.popleft()
            if last is not None and start is not None:
                with contextlib.suppress(Exception):
                    row[COLUMNS.index("device_seconds")] = start.elapsed_time(last) / 1000
                    before, first = start, len(COLUMNS) + len(PHASES)
                    if laps:
                        row[first:] = [0.0] * len(PHASES)
                    for code, event in events if laps else ():
                        if event is not None:
                            row[first + code] += before.elapsed_time(event) / 1000
                            before = event
            self.pool += [event for _, event in events[:-1] if event is not None]
            if start is not None:
                self.pool.append(start)
            self.rows.extend(row)

    @_survives
    def flush(self):
        """Write the rows so far."""
        if not self.rows or self.folder is None:
            return
        if self.file is None:
            clocks = 1 if self.device is None else 2
            layout = {"columns": COLUMNS, "phases": PHASES, "events": EVENTS, "clocks": clocks}
            header = json.dumps({**self.facts, **layout})
            self.file = open(os.path.join(self.folder, f"{os.getpid()}.rows"), "wb", buffering=0)  # noqa: PTH118, PTH123, SIM115
            self.file.write(header.encode() + b"\n")
        self.file.write(self.rows.tobytes())
        del self.rows[:]

    def fail(self, error):
        """Stop watching, and let the script go on."""
        self.error, self.laps, self.turns = repr(error), False, None
        self.forget()  # the optimizers' hooks stay: torch may be iterating over them
        sys.stderr.write(f"loopmark: the watching ended at step {self.step}: {self.error}\n")

    def install(self):
        """Set the hooks."""
        torch, loading = self.torch, sys.modules["torch.utils.data.dataloader"]
        optim = sys.modules["torch.optim.optimizer"]
        before = optim.register_optimizer_step_pre_hook(self.before_optimizer)
        after = optim.register_optimizer_step_post_hook(self.after_optimizer)
        self.undo += [before.remove, after.remove]
        self.wrap(optim.Optimizer, "zero_grad", self.around_zero_grad)
        self.wrap(torch.autograd, "backward", self.around_backward)
        self.wrap(loading._BaseDataLoaderIter, "__next__", self.around_next)
        self.wrap(loading.DataLoader, "__iter__", self.around_iter)
        self.wrap(torch, "save", self.around_save)
        graph = getattr(torch.cuda, "CUDAGraph", None)
        if graph is not None and isinstance(graph, type):
            self.wrap(graph, "capture_begin", lambda begin: self.around_capture(begin, begins=True))
            self.wrap(graph, "capture_end", lambda end: self.around_capture(end, begins=False))
            self.wrap(graph, "replay", self.around_replay)
        gc.callbacks.append(self.note_collection)
        self.undo.append(lambda: gc.callbacks.remove(self.note_collection))

    def wrap(self, owner, name, around):
        """Put ``around(original)`` in the place of a function of torch that has no hook."""
        original, own = getattr(owner, name), name in vars(owner)
        setattr(owner, name, functools.wraps(original)(around(original)))
        self.undo.append(lambda: setattr(owner, name, original) if own else delattr(owner, name))

    def uninstall(self):
        self.forget()
        while self.undo:
            self.undo.pop()()

    def finish(self):
        """The script is over."""
        if self.error or self.thread is None:
            return
        with contextlib.suppress(Exception):
            if self.turns is not None:
                self.turns.say({"ended": self.step + (self.ended is not None)})
            elif self.ended is not None:
                self.close()
            if self.pending:
                self.collect(wait=False)
            self.flush()

    def forked(self):
        """In a child that the script forked: nothing of the parent's is its own."""
        self.rows, self.file = array("d"), None
        self.pending.clear()
        self.learned = 0
        self.reset()


class _Around:
    """A module compiled in place: its forward pass is timed around its compiled code."""

    def __init__(self, module, compiled, recorder):
        self.module, self.compiled = module, compiled

        @functools.wraps(compiled)
        def call(*args, **kwargs):
            recorder.before_forward(module, args)
            try:
                return compiled(*args, **kwargs)
            finally:
                recorder.after_forward(module, args, None)

        module._compiled_call_impl = call

    def remove(self):
        self.module._compiled_call_impl = self.compiled


def size_of(batch, tensor):
    """The rows of a batch: the length of its first tensor; 0 if it has none, or is no usual container."""
    try:
        if isinstance(batch, tensor):
            return batch.shape[0] if batch.dim() else 0
        if isinstance(batch, dict):
            batch = batch.values()
        elif not isinstance(batch, (list, tuple)):
            return 0
        return next(filter(None, (size_of(part, tensor) for part in batch)), 0)
    except Exception:  # a nested tensor has no shape
        return 0


def memory_of(torch, device):
    """The peak of bytes that torch holds on the GPU, else the process's bytes in physical memory; NaN where unknown."""
    if device is not None:
        return float(torch.cuda.max_memory_allocated(device))
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return float(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    except OSError:
        return math.nan


def rank_of(torch):
    if os.environ.get("RANK", "").isdigit():
        return int(os.environ["RANK"])
    distributed = getattr(torch, "distributed", None)
    with contextlib.suppress(Exception):
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank()
    return None


class Turns:
    """The turns of `loopmark ab`: at the end of each block of steps the script waits until it is let go on.

    A request is a line of JSON, ``{"blocks": [[null, 1], [true, 5], [false, 5]]}``: a step that does not count, then
    five with laps and five without. The answer has the last two blocks. A block begins and ends where a forward pass
    begins. Devices are read between turns only. Where nobody asks any more, the process group ends: `ab` started it.
    """

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path.replace("@", "\0"))  # in the kernel's own namespace
        self.link = self.socket.makefile("rw", encoding="utf-8")
        self.plan, self.blocks, self.left, self.lapped, self.samples = deque(), [], 0, None, 0
        self.clear()

    def clear(self):
        self.totals, self.events, self.start, self.loss = [0.0] * len(PHASES), [], None, None

    def add(self, recorder):
        """Add the laps of a step that is over."""
        for code, seconds in enumerate(recorder.done):
            self.totals[code] += seconds
        self.events += recorder.events_done
        recorder.events_done.clear()
        self.samples = recorder.samples_done or self.samples
        self.loss = recorder.loss

    def closed(self, recorder):
        """A step is over: begin the next block if it was the last of its own."""
        self.left -= 1
        if self.left <= 0:
            if self.lapped is not None:
                self.end(recorder)
            if not self.plan:
                self.exchange(recorder)
            if not self.plan:
                return
            self.lapped, self.left = self.plan.popleft()
            recorder.laps = bool(self.lapped)
            self.clear()
            recorder.now[:] = [0.0] * len(PHASES)
            recorder.events_now.clear()
            if recorder.device is not None:
                self.start = recorder.event()
            self.began = recorder.last = clock()
        recorder.reads_loss = recorder.laps and self.left == 1

    def end(self, recorder):
        """Keep the block that has ended."""
        ended = clock()
        if recorder.laps:
            recorder.enter(FORWARD)
            ended = recorder.last
        totals = [sum(pair) for pair in zip(self.totals, recorder.now)]  # noqa: B905 - not in Python 3.9
        last = recorder.event() if recorder.device is not None else None
        events = self.events + recorder.events_now if recorder.laps else []
        block = {"lapped": self.lapped, "seconds": ended - self.began, "step": recorder.step - 1, "host": totals}
        self.blocks.append((block, self.loss, self.start, events, last))

    def read(self, block, loss, start, events, last):
        """A block's answer, with the device's seconds: NaN where there is no device."""
        device, total = [math.nan] * len(PHASES), math.nan
        if last is not None:
            last.synchronize()
            total, device, before = start.elapsed_time(last) / 1000, [0.0] * len(PHASES), start
            for code, event in events:
                if event is not None:
                    device[code] += before.elapsed_time(event) / 1000
                    before = event
        return {**block, "device_seconds": total, "device": device, "loss": None if loss is None else loss.item()}

    def exchange(self, recorder):
        """Send the blocks of the turn, and wait for the next request."""
        blocks, self.blocks, self.lapped = [self.read(*block) for block in self.blocks], [], None
        memory = memory_of(recorder.torch, recorder.device)
        self.say({"facts": recorder.facts, "blocks": blocks, "samples": self.samples, "memory": memory})
        request = None
        with contextlib.suppress(OSError, ValueError):
            request = json.loads(self.link.readline())
        if request:
            self.plan.extend(request["blocks"])
            return
        recorder.forget()
        recorder.turns, recorder.laps, recorder.error = None, False, "the comparison is over"
        for number in (signal.SIGTERM, signal.SIGCONT):
            os.kill(0, number)

    def say(self, answer):
        with contextlib.suppress(OSError):
            self.link.write(json.dumps(answer) + "\n")
            self.link.flush()


class _AfterTorch:
    """Finds torch as Python would, and sets the hooks once it has been imported."""

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002 - Python gives them
        if name != "torch":
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec("torch")
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_hook(module):
                run(module)
                try:
                    watch()
                except Exception as error:
                    sys.stderr.write(f"loopmark: this Python is not watched: {error!r}\n")

            spec.loader.exec_module = run_and_hook
        return spec


def mark(name):
    """Leave a file that tells how far this process came, for a message where it takes no step."""
    with contextlib.suppress(OSError):
        open(os.path.join(os.environ[FOLDER], f"{os.getpid()}.{name}"), "wb").close()  # noqa: PTH118, PTH123


def install_after_torch():
    """Watch this process from the import of torch on, as the environment says."""
    mark("python")
    sys.meta_path.insert(0, _AfterTorch())


def watch():
    """Set the hooks of this process, which has imported torch."""
    get = os.environ.get
    mark("torch")
    recorder = Recorder(get(FOLDER), int(get(STEPS) or 0), get(TURNS))
    recorder.install()
    atexit.register(recorder.finish)
    os.register_at_fork(after_in_child=recorder.forked)
