"""Loops that fail after some good steps, each in its own way."""

import os
import signal
import sys
import time

import torch

from loopmark.loops import eager

GOOD_STEPS = 40
_taken = 0


def _due() -> bool:
    global _taken
    _taken += 1
    return _taken > GOOD_STEPS


def raises(task, inputs, targets):
    yield from eager.step(task, inputs, targets)
    if _due():
        raise ValueError("the loop's own mistake")


def raises_at_once(task, inputs, targets):
    yield "forward"
    raise ValueError("wrong from the start")


def hangs(task, inputs, targets):
    yield from eager.step(task, inputs, targets)
    if _due():
        time.sleep(1000)


def is_killed(task, inputs, targets):
    yield from eager.step(task, inputs, targets)
    if _due():
        os.kill(os.getpid(), signal.SIGKILL)


def exits(task, inputs, targets):
    yield from eager.step(task, inputs, targets)
    if _due():
        sys.exit(3)


def runs_out_of_memory(task, inputs, targets):
    yield from eager.step(task, inputs, targets)
    if _due():
        torch.empty(2**50, dtype=torch.uint8)


def yields_an_unknown_phase(task, inputs, targets):
    yield 3


def yields_nothing(task, inputs, targets):
    return
    yield


def prints(task, inputs, targets):
    print("a word from the loop")
    yield from eager.step(task, inputs, targets)


def gets_an_unnamed_signal(task, inputs, targets):
    yield from eager.step(task, inputs, targets)
    if _due():
        os.kill(os.getpid(), 40)


def loses_its_loss(task, inputs, targets):
    yield from eager.step(task, inputs, targets)
    task.last_loss = task.last_loss / 0 * 0


def forks(task, inputs, targets):
    yield from eager.step(task, inputs, targets)
    if _due() and _taken == GOOD_STEPS + 1:
        os.fork()
