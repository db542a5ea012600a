"""Starting local ranks through torch's own launcher, as ``torchrun --standalone`` does."""

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from gcnsys.errors import PeerError

LAUNCHER = "GCNSYS_LAUNCHER"
"""Set for ranks that were started from here."""

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1")
"""That go on to ranks."""

PATIENCE = 60
"""Seconds that ranks have to end by themselves."""


def launch(num_ranks: int, arguments: Sequence[str], *, max_restarts: int = 0) -> int:
    """Run ``python -m gcnsys ARGUMENTS`` on every rank of this machine and wait.

    Signals that ask it to stop go on to the ranks, which have a minute to finish an epoch.

    Args:
        num_ranks: to start.
        arguments: of each.
        max_restarts: how often all of them are started again when one fails.

    Returns:
        0, or the exit code of the first rank that failed; it has said why.

    Raises:
        PeerError: a rank was killed and could not say anything.
    """
    # Ranks report their own problems in a sentence; the launcher's report would bury it.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    logging.getLogger("torch.distributed.run").setLevel(logging.CRITICAL)
    # One machine: the loopback device always resolves, which the host's name may not.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ[LAUNCHER] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // num_ranks)))
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as logs:  # torch would leave one of its own
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=num_ranks, run_id=uuid.uuid4().hex,
            local_addr="127.0.0.1", rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0",
            max_restarts=max_restarts, monitor_interval=0.1, logs_specs=DefaultLogsSpecs(log_dir=logs),
            signals_to_handle=",".join(name for name in SIGNALS if not _ignored(name)),
            shutdown_timeout=PATIENCE,
        )  # fmt: skip
        try:
            elastic_launch(config, sys.executable)("-m", "gcnsys", *arguments)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode > 0:
                return int(failure.exitcode)
            name = signal.Signals(-failure.exitcode).name
            raise PeerError(f"rank {rank} was killed by {name}; the others were stopped") from error
        except SignalException as asked:
            return 128 + asked.sigval.value
    return 0


def _ignored(name: str) -> bool:
    """Whether a signal is to be ignored, as nohup asks for."""
    return signal.getsignal(signal.Signals[name]) is signal.SIG_IGN
