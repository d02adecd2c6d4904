"""Standard output whose reader may leave: who has the first lines has them, and the exit status stays what it is."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Pipe(io.FileIO):
    """What goes to a pipe that nobody reads any more goes nowhere."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            return super().write(data)


@contextmanager
def patient_output() -> Iterator[None]:
    """Have ``sys.stdout`` outlive its reader, and write all of it by the end.

    Raises:
        OSError: it cannot be written, to a full disk for example.
    """
    if sys.stdout is None:  # it was closed before we began
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield
        return
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # it is no file of the system's
        yield
        return
    sys.stdout.flush()
    binary = io.BufferedWriter(_Pipe(number, "w", closefd=False))
    # A terminal without our letters gets a stand-in, not an error.
    output = io.TextIOWrapper(binary, encoding=sys.stdout.encoding, errors="replace", line_buffering=os.isatty(number))
    with redirect_stdout(output):
        try:
            yield
        finally:
            output.flush()
