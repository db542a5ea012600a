"""Lines that are added to a file by a thread of their own: a slow disk keeps no rank waiting."""

import os
import queue
import threading
from pathlib import Path

from gcnsys.files import named


class Journal:
    """A file that grows by lines.

    Args:
        path: of the file, which is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problem: OSError | None = None
        self._lines: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="gcnsys-journal", daemon=True)
        self._thread.start()

    def add(self, line: str) -> None:
        """Add a line.

        Raises:
            OSError: one before it could not be written.
        """
        self._check()
        self._lines.put(line + "\n")

    def settle(self) -> None:
        """Wait until all lines lie on the disk.

        Raises:
            OSError: one could not be written.
        """
        if self._thread.is_alive():
            there = threading.Event()
            self._lines.put(there)
            there.wait()
        self._check()

    def close(self) -> None:
        """Write what is left, and no more."""
        self._lines.put(None)
        self._thread.join()

    def _check(self) -> None:
        if self._problem is not None:
            raise self._problem

    def _run(self) -> None:
        entry: str | threading.Event | None = ""
        try:
            with named(self.path), self.path.open("a") as file:
                while (entry := self._lines.get()) is not None:
                    if isinstance(entry, str):
                        file.write(entry)
                        if not self._lines.empty():
                            continue
                    file.flush()
                    if isinstance(entry, threading.Event):
                        os.fsync(file.fileno())
                        entry.set()
        except OSError as problem:
            self._problem = problem
            while entry is not None:  # nobody waits for a thread that writes no more
                if isinstance(entry, threading.Event):
                    entry.set()
                entry = self._lines.get()
