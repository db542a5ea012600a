"""What a rank sends in an epoch and holds in memory, from the counts of its part.

Traffic follows from counts alone, byte by byte. Memory counts arrays: those of the part's files, what is made
of them, what backward keeps, what the exchange fills, and the model with its optimizer. The interpreter and
its libraries come on top.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gcnsys.partition.disk import NODES, part_folder
from gcnsys.partition.manifest import Manifest

COPIES = 6
"""Of the weights: they, their gradients, two moments of Adam, what is summed over ranks, the best so far."""


BACKWARD = 2.5
"""What hidden rows take at the peak over what forward keeps of them: their gradients, and memory that was
freed in pieces which nothing else fits. Between 2.2 and 2.7 for stacks of sums on two graphs, as measured."""

SORTED = 3
"""What it takes to sort sparse features by column, over what comes of it; a process keeps it."""


@dataclass(frozen=True, slots=True)
class Widths:
    """What crosses the wire and what is held in each layer, as :mod:`gcnsys.nn.conv` decides it.

    Attributes:
        features: width of rows that cross forward, one a layer; 0: nothing does.
        gradients: width of gradients that cross backward, one a layer.
        inputs: floats made of each inner node's dense features, besides the features themselves.
        hidden: floats kept of each inner node's hidden rows from forward to backward.
    """

    features: tuple[int, ...]
    gradients: tuple[int, ...]
    inputs: float
    hidden: int

    @classmethod
    def of(
        cls, hops: Sequence[tuple[int, int]], *, ready: int, inputs: int, needs_own: bool, hidden: int
    ) -> "Widths":
        """From what a model's aggregations move.

        Args:
            hops: the widths of rows and of their gradients, an aggregation each.
            ready: how many of the first ones are computed once.
            inputs: width of dense features; 0: they are sparse.
            needs_own: whether the model reads them beside those.
            hidden: see :class:`Widths`.
        """
        # A dropped copy (masks are drawn again, not kept); precomputed, also the neighbours' rows.
        dropped = 2 if ready and needs_own else 1
        left = [(0, 0)] * ready + list(hops[ready:])
        features, gradients = zip(*left, strict=True)
        return cls(features, gradients, float(inputs * (dropped + (ready > 0))), hidden)


@dataclass(frozen=True, slots=True)
class Hop:
    """One aggregation of training on a part.

    Attributes:
        rows: that it computes.
        inner_edges, halo_edges: that it follows.
        sends: rows to each rank that it may send.
        receives: rows of each rank that it may get.
    """

    rows: int
    inner_edges: int
    halo_edges: int
    sends: tuple[int, ...]
    receives: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """What a part asks of its rank.

    Attributes:
        inner, halo, boundary: as in :class:`gcnsys.partition.manifest.PartSummary`.
        inner_edges, halo_edges: likewise.
        files: bytes of the part's files.
        hops: of training, one a layer; a single one stands for all.
        flipped: bytes of sparse features by column, which are made when they are read; 0: they are dense.
        symmetric, weighted: the graph is.
    """

    inner: int
    halo: int
    boundary: int
    inner_edges: int
    halo_edges: int
    files: int
    hops: tuple[Hop, ...]
    flipped: int = 0
    symmetric: bool = True
    weighted: bool = False

    def hop(self, layer: int) -> Hop:
        """That of a layer."""
        return self.hops[min(layer, len(self.hops) - 1)]


def loads(manifest: Manifest) -> list[Load]:
    """The load of each part of a partitioning, where nothing is pruned.

    How many edges join training nodes is not on record: of an inductive run, as many of the part's are taken
    as of its nodes.
    """
    parts, inductive = manifest.parts, manifest.inductive
    sends = [tuple(part.train_sends if inductive else part.sends) for part in parts]
    found = []
    for rank, part in enumerate(parts):
        folder = f"{part_folder(rank)}/"
        files = {name: entry.size for name, entry in manifest.files.items() if name.startswith(folder)}
        rows = part.train if inductive else part.inner
        share = rows / max(1, part.inner)
        hop = Hop(
            rows, round(share * part.inner_edges), round(share * part.halo_edges), sends[rank],
            tuple(sent[rank] for sent in sends),
        )  # fmt: skip
        found.append(
            Load(
                part.inner, part.halo, part.boundary, part.inner_edges, part.halo_edges, sum(files.values()),
                (hop,), files.get(folder + NODES, 0) if manifest.sparse_features else 0,
                manifest.symmetric, manifest.weighted,
            )
        )  # fmt: skip
    return found


def _floats(width: int) -> int:
    return 4 * width


def _all(rows: int) -> int:
    return rows


@dataclass(frozen=True, slots=True)
class Wire:
    """How rows cross, as far as it decides traffic and memory.

    Attributes:
        drawn: of so many rows of an ordered pair of ranks, how many cross.
        row_bytes: of a row of so many numbers, at least 1.
        draws: whether rows are drawn at all.
        encodes: whether they cross in another form than they are computed with.
        ahead: epochs that rows are under way.
        averages: running averages are kept of features, of gradients.
    """

    drawn: Callable[[int], int] = _all
    row_bytes: Callable[[int], int] = _floats
    draws: bool = False
    encodes: bool = False
    ahead: int = 0
    averages: tuple[bool, bool] = (False, False)

    def rows(self, pairs: Iterable[int]) -> int:
        """Those that cross of the rows of several ordered pairs of ranks."""
        return sum(map(self.drawn, pairs))

    def bytes(self, rows: int, width: int) -> int:
        """Of so many rows; of width 0, nothing crosses."""
        return rows * self.row_bytes(width) if width else 0


def lanes(load: Load, widths: Widths, wire: Wire) -> list[tuple[int, int]]:
    """Bytes that leave and that arrive, for each transfer of a training epoch."""
    found = []
    for layer, (forward, gradient) in enumerate(zip(widths.features, widths.gradients, strict=True)):
        hop = load.hop(layer)
        out, back = wire.rows(hop.sends), wire.rows(hop.receives)
        found.append((wire.bytes(out, forward), wire.bytes(back, forward)))
        found.append((wire.bytes(back, gradient), wire.bytes(out, gradient)))
    return [lane for lane in found if any(lane)]


def sent_bytes(load: Load, widths: Widths, wire: Wire) -> int:
    """Halo bytes that a rank sends in a training epoch, to the byte."""
    return sum(leaving for leaving, _ in lanes(load, widths, wire))


def memory_bytes(load: Load, widths: Widths, wire: Wire, *, weights: int = 0, itemsize: int = 4) -> int:
    """About what a rank's arrays take, as the native kernels need them.

    Args:
        load: of the rank.
        widths: of the model.
        wire: how rows cross.
        weights: of the model.
        itemsize: bytes of a number.
    """
    turned = load.halo_edges + (0 if load.symmetric else load.inner_edges)
    values = itemsize if load.weighted else 0
    edges = (load.inner_edges + load.halo_edges) * values + turned * (4 + values)
    rows = sum(load.hop(layer).rows for layer in range(len(widths.features))) / len(widths.features)
    nodes = (load.inner * widths.inputs + rows * widths.hidden * BACKWARD) * itemsize
    return round(
        load.files + (1 + SORTED) * load.flipped + edges + nodes + weights * COPIES * itemsize
        + _buffers(load, widths, wire, itemsize)
    )  # fmt: skip


def _buffers(load: Load, widths: Widths, wire: Wire, itemsize: int) -> int:
    out, back = wire.rows(load.hop(0).sends), wire.rows(load.hop(0).receives)  # no layer needs more
    crossing = [leaving + arriving for leaving, arriving in lanes(load, widths, wire)]
    # Rows of one transfer at a time, before they leave and after they came, and in their other form.
    widest = max(*widths.features, *widths.gradients)
    passing = 2 * (out + back) * widest * itemsize + wire.encodes * max(crossing, default=0)
    # Whatever training does, evaluation sends all rows as they are.
    passing = max(passing, (load.boundary + load.halo) * max(widths.features) * itemsize)
    # Rows under way stay there, with what they were sent from.
    total = passing + wire.ahead * sum(crossing)
    for averaged, rows, of in zip(
        wire.averages, (load.halo, load.boundary), (widths.features, widths.gradients), strict=True
    ):
        total += averaged * rows * sum(of) * itemsize
    if wire.draws:  # scale, place and edges of all rows, positions of those that cross
        total += 24 * (load.halo + load.boundary) + 8 * (out + back)
    return total
