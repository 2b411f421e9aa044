"""SIGTERM, noted for the end of a compiled call."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def noted_sigterm() -> Iterator[Callable]:
    """A function that says whether SIGTERM came, which then does nothing else."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = threading.Event()

    def note(*_):
        came.set()
        signal.signal(signal.SIGTERM, before)  # a second one ends what hangs

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
