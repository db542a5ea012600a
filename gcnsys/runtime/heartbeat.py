"""Who is still there: a sign of life twice a second in the launcher's store.

A backend that waits in vain does not say for whom: gloo reports a connection that was reset or timed out,
and not whose process is gone, stopped or cut off. So every rank leaves a mark in the store that the
launcher keeps, and whoever lost contact looks whose marks stand still. The first to find out says so, for
the whole run.
"""

import queue
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from torch._C._distributed_c10d import Store

EVERY = 0.5
"""Seconds between marks; a rank whose mark stands still for two and a half of them is silent."""

_MARK, _CAUSE = "alive", "cause"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a rank last said: how often so far, where it runs, what it does, whether it waits for others."""

    count: int
    host: str = ""
    doing: str = ""
    waits: bool = False


class Heartbeat:
    """One rank's marks, and its view of the others'.

    All talk with the store happens on a thread of its own: a store that cannot be reached blocks that
    thread and nobody else.

    Args:
        store: a connection that nobody else uses.
        rank: of this process.
        size: how many ranks there are.
        every: seconds between marks.

    Attributes:
        doing: what this rank is at.
        waits: it waits for others.
        waits_beside: a thread beside it does.
        leans: it waits for that thread.
    """

    def __init__(self, store: Store, rank: int, size: int, *, every: float = EVERY) -> None:
        self.store, self.rank, self.size, self.every = store, rank, size, every
        self.doing, self.waits, self.waits_beside, self.leans = "starting", False, False, False
        self._count, self._unheard = 0, False
        self._own: str | None = None
        self._asking = threading.Lock()
        self._asked: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="gcnsys-heartbeat", daemon=True)
        self._thread.start()

    def close(self, patience: float = 1.0) -> None:
        """Stop marking; a store is waited for no longer than that, and one that did not answer not at all."""
        self._asked.put(None)
        self._thread.join(0 if self._unheard else patience)

    def culprit(self, cause: str, *, waited: float | None) -> str | None:
        """Who is to blame for a contact that was lost, as a sentence; takes three marks' time.

        Args:
            cause: what the backend said.
            waited: how many seconds it waited for a peer that said nothing; None: the connection broke.

        Returns:
            None where another rank has said it already.
        """
        with self._asking:  # two threads of this rank may lose contact at once: both are told the same
            if self._own is None:
                self._own = self._found(cause, waited)
            return self._own

    def _found(self, cause: str, waited: float | None) -> str | None:
        try:
            if self._do(lambda: self.store.check([_CAUSE])):
                return None
            first = self._do(self._look)
            time.sleep(2.5 * self.every)
            second = self._do(self._look)
            sentence = self._blame(first, second, cause, waited)
            return sentence if self.claim(sentence) else None
        except (TimeoutError, RuntimeError):
            self._unheard = True
            return (
                f"rank {self.rank} lost contact with the others and with the launcher's store: its network, "
                f"or the launcher's machine, is down ({cause})"
            )

    def claim(self, sentence: str) -> bool:
        """Whether this rank is the first to say what ended the run."""
        mine = f"{self.rank} {sentence}"
        return bool(self._do(lambda: self.store.compare_set(_CAUSE, "", mine)) == mine.encode())

    def _blame(self, first: list[Mark], second: list[Mark], cause: str, waited: float | None) -> str:
        others = [rank for rank in range(self.size) if rank != self.rank]
        silent = [rank for rank in others if first[rank].count == second[rank].count]
        lagging = [rank for rank in others if rank not in silent and not second[rank].waits]
        if silent:
            rank = min(silent, key=lambda rank: second[rank].count)
            mark = second[rank]
            where = f"rank {rank}" + (f" on {mark.host}" if mark.host else "")
            last = f"it was last seen in {mark.doing}" if mark.doing else "it was never seen"
            if waited is None:
                return f"{where} is gone: its process ended or was killed; {last} ({cause})"
            return (
                f"{where} has been silent for more than {waited:.0f} s: it was stopped, or its machine or "
                f"network is down; {last}"
            )
        if lagging and waited is not None:
            rank = lagging[0]
            return (
                f"rank {rank} on {second[rank].host} is alive, but has kept the others waiting for "
                f"{waited:.0f} s in {second[rank].doing}; give a longer --timeout if it needs that long"
            )
        return f"rank {self.rank} lost contact with the others, all of which are alive ({cause})"

    def _do(self, action: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()
        self._asked.put((action, future))
        return future.result(timeout=3 * self.every)

    def _run(self) -> None:
        while True:
            try:
                self._mark()
                asked = self._asked.get(timeout=self.every)
            except queue.Empty:
                continue
            except RuntimeError:
                # The launcher may be gone for good or only slow: whoever asks meanwhile is told by a timeout.
                time.sleep(self.every)
                continue
            if asked is None:
                return
            action, future = asked
            try:
                future.set_result(action())
            except Exception as error:
                future.set_exception(error)

    def _mark(self) -> None:
        self._count += 1
        waits = self.waits or (self.leans and self.waits_beside)
        text = f"{self._count}\n{socket.gethostname()}\n{self.doing}\n{int(waits)}"
        self.store.set(f"{_MARK}/{self.rank}", text)

    def _look(self) -> list[Mark]:
        keys = [f"{_MARK}/{rank}" for rank in range(self.size)]
        if self.store.check(keys):  # all ranks may look at once: two requests, not two a rank
            return [_read(text) for text in self.store.multi_get(keys)]
        return [_read(self.store.get(key)) if self.store.check([key]) else Mark(0) for key in keys]


def _read(text: bytes) -> Mark:
    count, host, doing, waits = text.decode().split("\n")
    return Mark(int(count), host, doing, waits == "1")
