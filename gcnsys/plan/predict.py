"""What an epoch would take and a rank would hold: a method on a cut, at a pace, over a network.

An epoch is computing, waiting for rows, and adding gradients up, as ``summary.json`` divides it. Ranks wait
for the slowest at every exchange, so each of the three is that of the rank which has most of it, and where
all have as much, for the one that happens to be last.
"""

from dataclasses import asdict, dataclass
from typing import Any

from gcnsys.partition.costs import Load, Widths, lanes, sent_bytes
from gcnsys.plan.cuts import Cut
from gcnsys.plan.job import Job
from gcnsys.plan.methods import RISKS, Method
from gcnsys.plan.miniature import held
from gcnsys.plan.network import Network, ring_bytes
from gcnsys.plan.pace import Pace


@dataclass(frozen=True, slots=True)
class Prediction:
    """A method on a cut.

    Attributes:
        method: which.
        parts: P.
        memory: bytes, a rank each.
        halo_bytes, reduce_bytes: sent in an epoch, a rank each; ``exact`` says whether to the byte.
        compute, comm, reduce: seconds of an epoch; ``comm`` is what is waited for.
        transfer: seconds that rows take to cross, waited for or not.
        exact: the graph was cut.
    """

    method: Method
    parts: int
    memory: tuple[int, ...]
    halo_bytes: tuple[int, ...]
    reduce_bytes: tuple[int, ...]
    compute: float
    comm: float
    reduce: float
    transfer: float
    exact: bool

    @property
    def seconds(self) -> float:
        """Of an epoch."""
        return self.compute + self.comm + self.reduce

    @property
    def peak(self) -> int:
        """Bytes of the fullest rank."""
        return max(self.memory)

    @property
    def sent(self) -> int:
        """Bytes of an epoch, over all ranks."""
        return sum(self.halo_bytes) + sum(self.reduce_bytes)

    def plain(self) -> dict[str, Any]:
        """As numbers, texts and lists."""
        found = asdict(self)
        del found["method"]
        return {
            "method": self.method.name, "settings": self.method.settings, "epoch_seconds": self.seconds,
            **{f"{name}_seconds": found.pop(name) for name in ("compute", "comm", "reduce", "transfer")},
            "memory_bytes": found["memory"], "halo_bytes_sent_per_epoch": found["halo_bytes"],
            "reduce_bytes_sent_per_epoch": found["reduce_bytes"], "parts": self.parts,
            "bytes_exact": self.exact, "risk": RISKS[self.method.risk], "because": self.method.because,
        }  # fmt: skip


def predict(cut: Cut, job: Job, method: Method, pace: Pace, network: Network, *, base: int) -> Prediction:
    """Predict one method.

    Args:
        cut: what each rank gets.
        job: what is trained.
        method: how rows cross.
        pace: how fast a rank computes.
        network: how fast they cross.
        base: bytes that the interpreter and its libraries take.

    Raises:
        InputError: the model does not say what it sends.
    """
    wire, widths, ranks = method.wire, job.widths, cut.num_parts
    computes: list[float] = []
    transfers: list[float] = []
    beside: list[float] = []
    for load in cut.loads:
        rows, inner, halo, crossed = _work(load, widths, method)
        packing = pace.crossing(crossed, method.choices.codec) + pace.drawing(_drawn_from(load, method))
        computes.append(pace.seconds(rows, inner + halo) + packing)
        transfers.append(sum(network.transfer(*lane) for lane in lanes(load, widths, wire)))
        beside.append(pace.edge * inner)
    reductions = [ring_bytes(numbers, ranks) for numbers in job.reduced]
    compute, transfer = max(computes), max(transfers)
    reduce = sum(network.reduction(sent, ranks) for sent in reductions)
    hidden = {"sync": 0.0, "overlap": min(beside), "pipeline": compute + reduce}[method.schedule]
    comm = max(0.0, transfer - hidden)
    if method.schedule == "pipeline":  # ranks meet where gradients are added up, and there alone
        reduce += pace.waiting(compute, ranks, 1)
    else:
        crossings = sum(width > 0 for width in (*widths.features, *widths.gradients))
        comm += pace.waiting(compute, ranks, crossings + 1)
    return Prediction(
        method, ranks,
        memory_bytes(cut, job, method, base),
        tuple(sent_bytes(load, widths, wire) for load in cut.loads), (sum(reductions),) * ranks,
        compute, comm, reduce, transfer, not cut.drafted,
    )  # fmt: skip


def memory_bytes(cut: Cut, job: Job, method: Method, base: int) -> tuple[int, ...]:
    """What each rank holds: libraries, the files of its part, and what is made of them and alive at once.

    That is counted for the fullest rank, and is in proportion for the others.
    """
    fullest = max(cut.loads, key=lambda load: load.inner + load.halo)
    alive = held(job, fullest, method.choices)
    return tuple(round(base + load.files + alive.on(load)) for load in cut.loads)


def _work(load: Load, widths: Widths, method: Method) -> tuple[float, float, float, int]:
    """Nodes, inner edges and halo edges of an epoch, means over layers, and how many numbers cross."""
    wire, layers = method.wire, len(widths.features)
    rows = sum(load.hop(layer).rows for layer in range(layers)) / layers
    # Each layer's edges count as wide as its rows are; where no layer aggregates, nothing does.
    weights = [a + b for a, b in zip(widths.features, widths.gradients, strict=True)]
    inner = halo = 0.0
    crossed = 0
    for layer, weight in enumerate(weights):
        hop = load.hop(layer)
        out, back = wire.rows(hop.sends), wire.rows(hop.receives)
        # Edges from rows that were not drawn are skipped.
        share = back / max(1, sum(hop.receives)) if wire.draws else 1.0
        inner += weight * hop.inner_edges
        halo += weight * share * hop.halo_edges
        crossed += weight * (out + back)
    total = max(1, sum(weights))
    return rows, inner / total, halo / total, crossed


def _drawn_from(load: Load, method: Method) -> list[int]:
    """How many rows each draw of an epoch is made from: of all peers' at once, each way.

    Layers that share a graph share its draws.
    """
    if not method.wire.draws:
        return []
    return [sum(side) for hop in load.hops for side in (hop.sends, hop.receives)]
