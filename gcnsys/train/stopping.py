"""Stopping when asked to: a signal is noted, and the run ends after the epoch that all ranks agree on."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from gcnsys.errors import GcnsysError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
"""What asks a run to stop: a scheduler or launcher, Ctrl-C, a scheduler's warning, a lost terminal."""


class StoppedError(GcnsysError):
    """A run that ended early because a signal asked it to; its exit code names the signal."""

    everywhere = True

    def __init__(self, sentence: str, number: int) -> None:
        super().__init__(sentence)
        self.exit_code = 128 + number


class Request:
    """Whether this process was asked to stop, and how.

    Attributes:
        signal: 0: it was not.
    """

    signal = 0

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Take a signal down; Ctrl-C a second time ends the process as it always does."""
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or number


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Note signals for as long as the block runs; outside of the main thread none arrive."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    # One that is ignored stays so: nohup asks for that.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, request.note) for number in heard}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
