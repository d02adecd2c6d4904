"""Watch a training from within: for a loop of one's own, for Lightning's and for transformers' Trainer.

The hooks, phases and run folder are those of ``loopmark watch``. Where ``loopmark watch`` runs the script, these do
nothing: it sees the same steps.
"""

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

RESULTS = Path("results")


class _Watch:
    """The hooks of this process, from ``start`` to ``stop``, which writes the run folder."""

    folder: Path | None = None  # of the run, once it has been written

    def __init__(self, out: "str | os.PathLike[str]" = RESULTS) -> None:
        self._out = Path(out)
        self._recorder: Any = None  # the hooks; None where none are set

    def start(self) -> None:
        from loopmark.bench.measure.watching.loopmark_hooks import FOLDER, Recorder
        from loopmark.bench.records.store import refuse_unwritable_folder

        if FOLDER in os.environ or self._recorder is not None:
            return
        refuse_unwritable_folder(self._out)
        self._rows = tempfile.TemporaryDirectory(prefix="loopmark-watch-")
        self._started, self._began = datetime.now(UTC), time.perf_counter()
        self._recorder = Recorder(self._rows.name)
        self._recorder.install()

    def stop(self) -> None:
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None
        seconds = time.perf_counter() - self._began
        recorder.finish()
        recorder.uninstall()
        with self._rows:
            if recorder.facts.get("rank"):  # rank 0 tells of the training
                return
            self._keep(seconds)

    def _keep(self, seconds: float) -> None:
        from loopmark.bench.measure.watching.keep import keep
        from loopmark.bench.measure.watching.watched import WatchedProcesses
        from loopmark.bench.report.draw import draw

        found = WatchedProcesses(Path(self._rows.name)).poll()
        if not found:
            print("loopmark: nothing to report: no optimizer took a step after a backward pass", file=sys.stderr)
            return
        self.folder, run, samples = keep(found, shlex.join(sys.argv), self._out, self._started, seconds)
        draw(self.folder, run, samples)
        print(f"loopmark: report: {self.folder / 'report.html'}", file=sys.stderr)


@contextmanager
def watching(out: "str | os.PathLike[str]" = RESULTS) -> Iterator[_Watch]:
    """Time the training steps within: ``with watching(): train()``.

    Its value has the run's ``folder`` afterwards. Args: ``out``, the folder of all results. Raises BadInput if it
    cannot be written to. If the training raises, the steps until then are kept.
    """
    watch = _Watch(out)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


def _lightning_watch() -> type:
    try:
        from lightning.pytorch import Callback
    except ImportError:  # the older of its two names
        from pytorch_lightning import Callback

    class LightningWatch(_Watch, Callback):  # type: ignore[misc]
        """A callback of Lightning's Trainer that writes a run folder: ``Trainer(callbacks=[LightningWatch()])``."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 - Lightning gives them
            self.start()

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
            self.stop()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
            self.stop()

    return LightningWatch


def _transformers_watch() -> type:
    from transformers import TrainerCallback

    class TransformersWatch(_Watch, TrainerCallback):  # type: ignore[misc]
        """A callback of transformers' Trainer that writes a run folder: ``callbacks=[TransformersWatch()]``.

        The Trainer tells no callback of an exception; wrap ``trainer.train()`` in ``watching()`` to keep its steps.
        """

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.start()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.stop()

    return TransformersWatch


_MADE = {"LightningWatch": _lightning_watch, "TransformersWatch": _transformers_watch}


def __getattr__(name: str) -> Any:
    """A callback's class, made when it is asked for: its trainer may not be installed."""
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = _MADE[name]()
    return found
