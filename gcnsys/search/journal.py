"""The file of trials: whole lines, one writer at a time, and nothing in the way of the next after a kill."""

import fcntl
import os
from pathlib import Path
from typing import Any


class FileLock:
    """The system's lock on a file, which goes with the process that holds it.

    Optuna's own is a link beside the file. One that is killed while it writes leaves that behind, and where
    the file was named by a relative path nobody can tell the link's age: the next search waits for ever.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._handle = path, -1

    def acquire(self) -> bool:
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        os.close(self._handle)


def storage(path: Path) -> Any:
    """Optuna's storage in a file, without the piece of a line that a killed writer may have left."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    lock: Any = FileLock(path)
    lock.acquire()
    try:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock))
