"""What a rank sends in an epoch, from the counts of its part, byte by byte."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gcnsys.partition.disk import NODES, part_folder
from gcnsys.partition.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Widths:
    """What crosses the wire in each layer, as :mod:`gcnsys.nn.conv` decides it.

    Attributes:
        features: width of rows that cross forward, one a layer; 0: nothing does.
        gradients: width of gradients that cross backward, one a layer.
    """

    features: tuple[int, ...]
    gradients: tuple[int, ...]

    @classmethod
    def of(cls, hops: Sequence[tuple[int, int]], *, ready: int) -> "Widths":
        """From what a model's aggregations move.

        Args:
            hops: the widths of rows and of their gradients, an aggregation each.
            ready: how many of the first ones are computed once.
        """
        left = [(0, 0)] * ready + list(hops[ready:])
        features, gradients = zip(*left, strict=True)
        return cls(features, gradients)


@dataclass(frozen=True, slots=True)
class Hop:
    """One aggregation of training on a part.

    Attributes:
        rows: that it computes.
        inner_edges, halo_edges: that it follows.
        sends: rows to each rank that it may send.
        receives: rows of each rank that it may get.
        sources: inner rows that it reads; 0: all of the part.
    """

    rows: int
    inner_edges: int
    halo_edges: int
    sends: tuple[int, ...]
    receives: tuple[int, ...]
    sources: int = 0


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
            tuple(sent[rank] for sent in sends), rows if inductive else 0,
        )  # fmt: skip
        found.append(
            Load(
                part.inner, part.halo, part.boundary, part.inner_edges, part.halo_edges, sum(files.values()),
                (hop,), _sparse_bytes(manifest, folder + NODES),
                manifest.symmetric, manifest.weighted,
            )
        )  # fmt: skip
    return found


def _sparse_bytes(manifest: Manifest, name: str) -> int:
    """What a part's sparse features take by column: a column number and a value each."""
    if not manifest.sparse_features:
        return 0
    return 8 * int(manifest.files[name].arrays["x_indices"]["shape"][0])


def _floats(width: int) -> int:
    return 4 * width


def _all(rows: int) -> int:
    return rows


@dataclass(frozen=True, slots=True)
class Wire:
    """How rows cross, as far as it decides traffic.

    Attributes:
        drawn: of so many rows of an ordered pair of ranks, how many cross.
        row_bytes: of a row of so many numbers, at least 1.
        draws: whether rows are drawn at all.
    """

    drawn: Callable[[int], int] = _all
    row_bytes: Callable[[int], int] = _floats
    draws: bool = False

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
