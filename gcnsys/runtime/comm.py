"""The one module that talks to ``torch.distributed``.

Every method is collective: all ranks of the group call it, in the same order. The group is always
passed in and methods of the group object are used, so ranks can be processes under torchrun or
threads in a test.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store
from torch.distributed.distributed_c10d import _set_pg_timeout

from gcnsys.errors import GcnsysError, InputError, PeerError, known_to_all, of_system
from gcnsys.runtime.heartbeat import Heartbeat
from gcnsys.runtime.labels import labelled
from gcnsys.runtime.traffic import Kind, Mark, Traffic

_GLANCE = 1e-4
"""Seconds between looks at what a GPU is at."""

SLACK = 60.0
"""Seconds that NCCL waits longer before it ends the process: whoever waits here says first who is gone."""


@dataclass(slots=True)
class Flight:
    """Rows under way between ranks.

    ``sent`` is held so that its memory outlives the transfer.
    """

    rows: Tensor
    sent: Tensor
    works: list[dist.Work]
    comm: "Comm"
    home: torch.device

    def land(self) -> Tensor:
        """Wait for the rows. On CUDA with NCCL only the current stream waits."""
        if self.works:
            with self.comm.timed("halo"):
                for work in self.works:
                    self.comm.wait(work)
            self.works = []
        return self.rows.to(self.home)


class Comm:
    """One rank's end of a process group.

    Args:
        group: every rank's end of the same group.
        wire: the kind of memory its backend reads; tensors elsewhere pass through it (gloo under
            ranks that share a GPU reads host memory).
        another: makes a second group of the same ranks, whose backend reads a device's memory; collective.
        timeout: seconds after which a silent peer counts as gone.
        heartbeat: says which one it is; None: nobody knows.
        store: the launcher's, which outlives the ranks; None: there is none.

    Attributes:
        traffic: what was sent, and what was waited for; on CUDA :meth:`spent` knows the latter.
    """

    _helper: "Comm | None" = None

    def __init__(
        self, group: dist.ProcessGroup, *, wire: torch.device | None = None,
        another: Callable[[torch.device], dist.ProcessGroup] | None = None, timeout: float = 1800.0,
        heartbeat: Heartbeat | None = None, store: Store | None = None,
    ) -> None:  # fmt: skip
        self.group, self.wire = group, wire or torch.device("cpu")
        self._halo_group, self._another = group, another
        self.heartbeat, self._store = heartbeat, store
        self._marks: list[tuple[Kind, Mark, Mark]] = []
        self._timeout = timeout
        self.rank, self.size = group.rank(), group.size()
        self.traffic = Traffic()
        self._swaps = 0
        self._leads = True

    @property
    def timeout(self) -> float:
        """Seconds after which a silent peer counts as gone; may be changed, alike on all ranks."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        if seconds == self._timeout:
            return
        self._timeout = seconds
        if self._helper is not None:
            self._helper.timeout = seconds
        if self.wire.type == "cuda":  # NCCL takes no timeout with a call
            for group in {self.group, self._halo_group}:
                _set_pg_timeout(timedelta(seconds=seconds + SLACK), group)

    def close(self) -> None:
        """Let go of the group.

        Its last owner joins the backend's threads. Left to the interpreter's exit, a thread that still
        holds the tensors of the last message would ask for the lock of an interpreter that is gone,
        which ends the process by SIGABRT now and then.
        """
        if self._helper is not None:
            self._helper.close()
        del self.group, self._halo_group, self._another, self._store

    def helper(self) -> "Comm":
        """Another end, on connections of its own, for what another thread does beside this one; collective.

        Raises:
            GcnsysError: there is no second group to be had.
        """
        if self._helper is None:
            # What it sends lies on the CPU. On a GPU its calls and this one's would share a stream, where
            # those of two ranks that come in another order wait for each other.
            group, wire = (self.group, self.wire) if self.size == 1 else (None, torch.device("cpu"))
            if group is None and self._another is not None:
                group = self._another(wire)
            if group is None:
                raise GcnsysError("a helper needs a group of its own, and nobody makes one here")
            self._helper = Comm(group, wire=wire, timeout=self.timeout, heartbeat=self.heartbeat)
            self._helper._leads = False
        return self._helper

    def separate_halo(self) -> None:
        """Give halo rows connections of their own; collective.

        Where rows stay under way beside other work, a reduction would queue behind them.
        """
        if self._another is not None and self._halo_group is self.group:
            self._halo_group = self._another(self.wire)

    @contextlib.contextmanager
    def timed(self, kind: Kind) -> Iterator[None]:
        """Charge the time a block takes to this kind of traffic."""
        began = Mark(self.wire)
        self._say(waits=True)
        try:
            yield
        except RuntimeError as error:
            # A peer that is gone shows as a reset or timed-out connection on whatever we wait for.
            raise self._lost(kind, error) from error
        finally:
            self._say(waits=False)
            self._marks.append((kind, began, Mark(self.wire)))
            if self.wire.type == "cpu":
                self._charge()

    def _say(self, *, waits: bool) -> None:
        """Tell others that this end waits for them: a rank's own thread, or the one beside it."""
        if self.heartbeat is not None and self._leads:
            self.heartbeat.waits = waits
        elif self.heartbeat is not None:
            self.heartbeat.waits_beside = waits

    @contextlib.contextmanager
    def leaning(self) -> Iterator[None]:
        """Wait in a block for the thread that has the helper: where that waits, so does this rank."""
        if self.heartbeat is not None:
            self.heartbeat.leans = True
        try:
            yield
        finally:
            if self.heartbeat is not None:
                self.heartbeat.leans = False

    def _charge(self) -> None:
        for kind, began, ended in self._marks:
            self.traffic.seconds[kind] += ended.since(began)
        self._marks.clear()

    def spent(self) -> Traffic:
        """What was sent and waited for so far; on CUDA it waits for what is under way."""
        self._charge()
        return self.traffic.copy()

    def synchronize(self) -> None:
        """Wait for all that this rank's device was given to do."""
        if self.wire.type == "cuda":
            torch.cuda.synchronize(self.wire)

    def wait(self, work: dist.Work) -> None:
        """Wait for something that was started, no longer than the timeout."""
        if self.wire.type == "cpu":
            work.wait(timedelta(seconds=self.timeout))
        else:  # the stream waits, not this thread, which learns of a silent peer in `caught_up`
            work.wait()

    def caught_up(self) -> None:
        """Wait until a GPU has done all it was given, for rows of others no longer than the timeout.

        Whatever reads a number of it waits as well, and for ever.
        """
        if self.wire.type == "cuda":
            done = torch.cuda.Event()
            done.record()
            with self.timed("halo"):
                self._until(done.query)

    def _ended(self, work: dist.Work) -> None:
        """Wait until something is over, on this thread as well."""
        if self.wire.type == "cuda":
            self._until(work.is_completed)
            work.wait(timedelta(seconds=self.timeout))  # raises where it is over because it failed
            return
        work.wait()

    def _until(self, over: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.timeout
        while not over():
            if time.monotonic() > deadline:
                raise RuntimeError(f"timed out after {self.timeout:g} s")
            time.sleep(_GLANCE)

    def _lost(self, kind: Kind, error: RuntimeError) -> PeerError:
        cause = re.sub(r"^\[[^]]*\] ", "", str(error).splitlines()[0]).split(". ")[0]
        if self.heartbeat is None:
            return PeerError(
                f"lost contact with another rank during a {kind} exchange ({cause}); the rank that failed "
                f"first says why"
            )
        silent = re.search("time(d )?out", cause, re.IGNORECASE)
        sentence = self.heartbeat.culprit(cause, waited=self.timeout if silent else None)
        problem = PeerError(sentence or f"another rank has said what ended the run ({cause})")
        problem.said = sentence is None
        return problem

    def swap(self, rows: Tensor, send_counts: Sequence[int], recv_counts: Sequence[int]) -> Flight:
        """Start sending ``[sum(send_counts), F]`` rows, cut by receiver.

        The rows that land are ``[sum(recv_counts), F]``, cut by sender.
        """
        sent = self._packed(rows)
        landing = sent.new_empty(sum(recv_counts), *rows.shape[1:])
        self.traffic.sent_bytes["halo"] += sent.nbytes
        row_bytes = sent.nbytes // max(1, rows.shape[0])
        self.traffic.halo_bytes_to.update(
            {peer: count * row_bytes for peer, count in enumerate(send_counts) if count}
        )
        self.traffic.buffer_bytes += sent.nbytes + landing.nbytes
        with self.timed("halo"):
            if self.wire.type == "cpu":
                works = self._by_pairs(landing, sent, recv_counts, send_counts)
            else:
                counts = list(recv_counts), list(send_counts)
                works = [self._halo_group.alltoall_base(landing, sent, *counts, dist.AllToAllOptions())]
        return Flight(landing, sent, works, self, rows.device)

    def _by_pairs(
        self, landing: Tensor, sent: Tensor, recv_counts: Sequence[int], send_counts: Sequence[int]
    ) -> list[dist.Work]:
        """A message for every pair of ranks that have rows for each other.

        Gloo's own all-to-all goes one way at a time where it is uneven, and keeps one of its few threads
        until it is done. All receipts are posted before anything is sent, so both directions run at once.
        """
        self._swaps = (self._swaps + 1) % 2**20
        arriving, leaving = landing.split(list(recv_counts)), sent.split(list(send_counts))
        arriving[self.rank].copy_(leaving[self.rank])
        group = self._halo_group
        peers = [(self.rank + step) % self.size for step in range(1, self.size)]
        works = [group.recv([arriving[peer]], peer, self._swaps) for peer in peers if arriving[peer].numel()]
        return works + [
            group.send([leaving[peer]], peer, self._swaps) for peer in peers if leaving[peer].numel()
        ]

    def add(self, tensor: Tensor, kind: Kind = "reduce") -> Tensor:
        """The sum of a tensor over ranks, in the order of ranks only where the backend keeps it."""
        return self._reduced(tensor, dist.ReduceOp.SUM, kind)

    def greatest(self, tensor: Tensor, kind: Kind = "control") -> Tensor:
        """The element-wise maximum of a tensor over ranks."""
        return self._reduced(tensor, dist.ReduceOp.MAX, kind)

    def _reduced(self, tensor: Tensor, operation: Any, kind: Kind) -> Tensor:
        packed = self._packed(tensor)
        if packed.data_ptr() == tensor.data_ptr():
            packed = packed.clone()
        if self.size > 1:
            share = 2 * (self.size - 1) / self.size
            self.traffic.sent_bytes[kind] += round(share * packed.numel() * packed.element_size())
            options = dist.AllreduceOptions()
            options.reduceOp, options.timeout = operation, timedelta(seconds=self.timeout)
            with self.timed(kind), labelled(f"all-reduce: {kind}"):
                self._ended(self.group.allreduce([packed], options))
        return packed.to(tensor.device)

    def share(self, tensor: Tensor) -> Tensor:
        """Rank 0's values of a tensor that has the same shape everywhere."""
        packed = self._packed(tensor).clone()
        if self.size > 1:
            options = dist.BroadcastOptions()
            options.rootRank, options.timeout = 0, timedelta(seconds=self.timeout)
            with self.timed("control"):
                self._ended(self.group.broadcast([packed], options))
        return packed.to(tensor.device)

    def _packed(self, tensor: Tensor) -> Tensor:
        return tensor.detach().contiguous().to(self.wire)

    def texts(self, text: str) -> list[str]:
        """Every rank's text, by rank."""
        content = torch.frombuffer(bytearray(text.encode() or b"\0"), dtype=torch.uint8)
        length = torch.zeros(self.size, dtype=torch.int64, device=self.wire)
        length[self.rank] = len(text.encode())
        length = self.add(length, "control")
        table = torch.zeros(self.size, max(1, int(length.max())), dtype=torch.int32, device=self.wire)
        table[self.rank, : content.numel()] = content.to(self.wire, torch.int32)
        table = self.add(table, "control").to("cpu", torch.uint8)
        return [bytes(table[rank, : int(length[rank])].tolist()).decode() for rank in range(self.size)]

    def remember(self, key: str, text: str) -> None:
        """Leave a text with the launcher, for this rank when it is started again."""
        if self._store is not None:
            self._store.set(f"remembered/{key}", text)

    def recall(self, key: str) -> str | None:
        """What was left there before."""
        key = f"remembered/{key}"
        return (
            str(self._store.get(key), "utf-8")
            if self._store is not None and self._store.check([key])
            else None
        )

    def doing(self, what: str) -> None:
        """What this rank is at, for others that may wait in vain."""
        if self.heartbeat is not None:
            self.heartbeat.doing = what

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        """Run a block that may fail on one rank alone; if any rank fails, all raise its sentence.

        The block must hold no collective. Without this the others would wait for ever.
        """
        problem: GcnsysError | None = None
        unexpected: Exception | None = None
        try:
            yield
        except GcnsysError as error:
            problem = error
        except OSError as error:
            problem = of_system(error)
        except Exception as error:
            problem, unexpected = GcnsysError(f"{type(error).__name__}: {error}"), error
        told = self.texts(f"{problem.exit_code} {problem}" if problem else "")
        failed = [(rank, text) for rank, text in enumerate(told) if text]
        if not failed:
            return
        if unexpected is not None:
            raise unexpected
        rank, text = failed[0]
        code, _, sentence = text.partition(" ")
        if problem is None or rank != self.rank:
            problem = InputError(sentence) if code == "2" else PeerError(f"rank {rank}: {sentence}")
        problem.everywhere = True
        raise problem

    def same(self, what: str, text: str) -> None:
        """Make sure that all ranks hold the same text.

        Raises:
            InputError: on every rank, naming the first one that differs from rank 0.
        """
        told = self.texts(text)
        for rank, other in enumerate(told):
            if other != told[0]:
                raise known_to_all(
                    f"rank {rank} was started with another {what} than rank 0: {other} against {told[0]}",
                    InputError,
                )
