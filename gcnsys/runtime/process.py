"""Joining the process group that torchrun set up, and leaving it."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist

# Its functions take the default group as a default argument: imported later (torch's optimizers do),
# they would own the group for ever, and Comm.close says what comes of that.
import torch.distributed.nn.functional
from torch._C._distributed_c10d import HashStore, PrefixStore, Store
from torch.distributed.distributed_c10d import _abort_process_group
from torch.distributed.rendezvous import rendezvous

from gcnsys.errors import GcnsysError, InputError, PeerError
from gcnsys.runtime.comm import SLACK, Comm
from gcnsys.runtime.heartbeat import Heartbeat
from gcnsys.runtime.meeting import meet

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a rank computes and how it talks.

    Attributes:
        device: of its tensors.
        backend: ``nccl`` where every rank has a GPU of its own, else ``gloo``, which reads host
            memory: rows of ranks that share a GPU pass through it.
    """

    device: torch.device
    backend: Literal["gloo", "nccl"]

    @property
    def wire(self) -> torch.device:
        """The memory that the backend reads."""
        return self.device if self.backend == "nccl" else torch.device("cpu")

    @classmethod
    def choose(cls, device: Device, local_rank: int, local_size: int) -> "Placement":
        """Place one of the ranks of a node.

        Raises:
            InputError: CUDA was asked for and there is none.
        """
        num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device == "cuda" and num_gpus == 0:
            raise InputError(
                "--device cuda: this machine has no CUDA device that torch can use; use --device cpu"
            )
        if device == "cpu" or num_gpus == 0:
            return cls(torch.device("cpu"), "gloo")
        chosen = torch.device("cuda", local_rank % num_gpus)
        shared = local_size > num_gpus
        return cls(chosen, "gloo" if shared else "nccl")


def launched_by_torchrun() -> bool:
    """Whether this process is one of several that a launcher started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _take_turns() -> None:
    """Let gloo's threads take turns with those that compute, instead of interrupting them at every packet.

    With a core a rank and rows under way all the time, that is a twelfth of an epoch.
    """
    for name in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # a thread that has just ended, or a system that does not allow it
            if name.read_text().startswith("gloo"):
                os.sched_setscheduler(int(name.parent.name), os.SCHED_BATCH, os.sched_param(0))


@contextlib.contextmanager
def joined(device: Device = "auto", *, timeout: float = 1800.0) -> Iterator[tuple[Comm, Placement]]:
    """Join the group described by torchrun's environment variables, or be the only rank.

    Args:
        device: where to compute.
        timeout: seconds after which a silent peer counts as gone.

    Raises:
        PeerError: the others did not come.
    """
    environment = {name: int(os.environ.get(name, default)) for name, default in (
        ("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))}  # fmt: skip
    rank, size = environment["RANK"], environment["WORLD_SIZE"]
    placement = Placement.choose(device, environment["LOCAL_RANK"], environment["LOCAL_WORLD_SIZE"])
    if placement.device.type == "cuda":
        torch.cuda.set_device(placement.device)
    patience = timedelta(seconds=timeout)
    try:
        store = _store(rank, size, patience)
        own = PrefixStore(meet(store, rank, size, timeout), store)
        _same_backend(own, rank, placement.backend)
        heartbeat = Heartbeat(_copy(own), rank, size) if size > 1 else None
        if placement.backend == "nccl":  # ends the process when its time is up: whoever waits here says why
            patience += timedelta(seconds=SLACK)
        dist.init_process_group(placement.backend, store=own, rank=rank, world_size=size, timeout=patience)
    except GcnsysError:
        raise
    except (RuntimeError, ValueError) as error:
        raise PeerError(
            f"rank {rank} of {size} could not join the others at "
            f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')} ({str(error).splitlines()[0]})"
        ) from error
    assert dist.group.WORLD is not None

    def another(memory: torch.device) -> dist.ProcessGroup:
        backend = "gloo" if memory.type == "cpu" else placement.backend
        made = dist.new_group(backend=backend, timeout=patience)
        assert isinstance(made, dist.ProcessGroup)
        _take_turns()
        return made

    _take_turns()
    comm = Comm(
        dist.group.WORLD, wire=placement.wire, another=another, timeout=timeout, heartbeat=heartbeat,
        store=store,
    )  # fmt: skip
    gone = False
    try:
        yield comm, placement
    except BaseException as error:
        gone = not getattr(error, "everywhere", False)
        if heartbeat is not None and not (
            isinstance(error, PeerError) or getattr(error, "everywhere", False)
        ):
            # What this rank says of itself, no other needs to guess.
            with contextlib.suppress(TimeoutError, RuntimeError):
                heartbeat.claim(f"{type(error).__name__}: {error}")
        raise
    finally:
        if gone and placement.backend == "nccl":
            _abandon()
        else:
            comm.close()
            dist.destroy_process_group()
        if heartbeat is not None:
            heartbeat.close()


def _abandon(patience: float = 10.0) -> None:
    """Leave ranks that may be gone: NCCL's goodbye waits for what they owe, and nobody would hear why."""

    def abort() -> None:
        with contextlib.suppress(Exception):
            _abort_process_group()

    thread = threading.Thread(target=abort, name="gcnsys-abort", daemon=True)
    thread.start()
    thread.join(patience)


def _same_backend(store: Store, rank: int, backend: str) -> None:
    """Refuse to wait for ranks that talk otherwise, as where one machine has fewer GPUs than the others.

    Raises:
        PeerError: this rank's is not rank 0's.
    """
    if rank == 0:
        store.set("backend", f"{backend} on {socket.gethostname()}")
        return
    others, _, host = str(store.get("backend"), "utf-8").partition(" on ")
    if others != backend:
        raise PeerError(
            f"rank {rank} on {socket.gethostname()} talks by {backend}, rank 0 on {host} by {others}; start "
            f"as many ranks on each machine as it has GPUs, or give all of them the same --device"
        )


def _store(rank: int, size: int, patience: timedelta) -> Store:
    """Where ranks find each other; one that outlives them where a launcher keeps it."""
    if not launched_by_torchrun():
        return HashStore()
    store, _, _ = next(iter(rendezvous("env://", rank, size, timeout=patience)))
    return PrefixStore("gcnsys", store)


def _copy(store: Store) -> Store:
    """Another connection to the same store; the stubs do not know of it."""
    made: Store = store.clone()  # type: ignore[attr-defined]
    return made
