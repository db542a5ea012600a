"""Partitionings on disk: one folder, one subfolder a part, arrays mapped into memory.

The format is explained in ``partitions/README.md``. A rank opens its own part only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gcnsys.datasets.arrays import MASKS
from gcnsys.datasets.dataset import Dataset
from gcnsys.errors import DamagedFileError
from gcnsys.files import load_arrays
from gcnsys.graph import CSR, EDGE_COLUMNS
from gcnsys.kernels import SparseRows
from gcnsys.kernels.block import Degrees
from gcnsys.manifest import NAME, SEAL
from gcnsys.partition.manifest import Manifest
from gcnsys.partition.part import ExchangePlan, NodeData, Part, PartGraph, TrainingCut, induced

GRAPH, EXCHANGE = "graph.safetensors", "exchange.safetensors"
NODES, LINKS = "nodes.safetensors", "links.safetensors"


def part_folder(rank: int) -> str:
    """The name of a part's subfolder."""
    return f"part-{rank:05d}"


def graph_arrays(part: PartGraph, cut: TrainingCut | None) -> dict[str, Tensor]:
    """The arrays of ``graph.safetensors``."""
    arrays = {"inner_ids": part.inner_ids, "halo_ids": part.halo_ids}
    arrays |= _csr_arrays("inner", part.inner) | _csr_arrays("halo", part.halo)
    arrays |= _degree_arrays("inner", part.degrees) | _degree_arrays("halo", part.halo_degrees)
    if cut is not None:
        arrays |= {"train_inner": cut.inner, "train_halo": cut.halo}
        arrays |= _degree_arrays("train_inner", cut.degrees) | _degree_arrays("train_halo", cut.halo_degrees)
    return arrays


def exchange_arrays(plan: ExchangePlan, cut: TrainingCut | None) -> dict[str, Tensor]:
    """The arrays of ``exchange.safetensors``."""
    arrays = {
        "send_rows": plan.send_rows,
        "send_counts": torch.tensor(plan.send_counts),
        "recv_counts": torch.tensor(plan.recv_counts),
        "send_edges": plan.send_edges,
    }
    if cut is not None:
        arrays |= {"train_sent": cut.sent, "train_sent_edges": cut.sent_edges}
    return arrays


def link_arrays(part: PartGraph) -> dict[str, Tensor]:
    """The arrays of ``links.safetensors``."""
    arrays = graph_arrays(part, None) | exchange_arrays(part.plan, None)
    del arrays["inner_ids"]  # they are those of the part
    return arrays


def node_arrays(dataset: Dataset, rows: Tensor) -> dict[str, Tensor]:
    """The arrays of ``nodes.safetensors`` for the nodes ``rows`` of the whole graph."""
    x = dataset.x
    if isinstance(x, CSR):
        taken = x.take_rows(rows)
        assert taken.weight is not None
        arrays = {"x_indptr": taken.indptr, "x_indices": taken.indices, "x_data": taken.weight}
        arrays["x_columns"] = torch.tensor([x.num_cols])
    else:
        arrays = {"x": x[rows]}
    arrays |= {"y": dataset.y[rows]} | {name: getattr(dataset, name)[rows] for name in MASKS}
    return arrays if dataset.node_type is None else arrays | {"node_type": dataset.node_type[rows]}


def _csr_arrays(name: str, csr: CSR) -> dict[str, Tensor]:
    arrays = {f"{name}_indptr": csr.indptr, f"{name}_indices": csr.indices}
    arrays |= {f"{name}_{column}": values for column, values in csr.columns.items()}
    return arrays if csr.weight is None else arrays | {f"{name}_weight": csr.weight}


def _degree_arrays(name: str, degrees: Degrees) -> dict[str, Tensor]:
    return {
        f"{name}_degree_in": degrees.into,
        f"{name}_degree_out": degrees.out_of,
        f"{name}_added_loop": degrees.added_loop,
    }


@dataclass(frozen=True, slots=True)
class Partitioning:
    """A partitioning on disk.

    Attributes:
        folder: where it is.
        manifest: what it is.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path | str) -> "Partitioning":
        """Open a partitioning; reads its manifest only.

        Raises:
            DamagedFileError: it is not one, or its manifest was altered.
        """
        return cls(Path(folder), Manifest.read(Path(folder)))

    @property
    def num_parts(self) -> int:
        """How many parts there are, P."""
        return self.manifest.num_parts

    def part(self, rank: int, *, checked: bool = False) -> Part:
        """Map one part into memory.

        Args:
            rank: which.
            checked: read every byte and compare checksums, as before a run of days.

        Raises:
            DamagedFileError: a file is missing or, if ``checked``, altered; or an array is not of the size or
                type the manifest says.
        """
        graph, exchange, nodes = (self._arrays(rank, name, checked) for name in (GRAPH, EXCHANGE, NODES))
        whole = self._part_graph(rank, graph | exchange)
        training, rows = whole, None
        if self.manifest.inductive:
            cut = TrainingCut(
                graph["train_inner"], graph["train_halo"], exchange["train_sent"],
                exchange["train_sent_edges"], _degrees(graph, "train_inner"), _degrees(graph, "train_halo"),
            )  # fmt: skip
            training, rows = induced(whole, cut), torch.nonzero(cut.inner).flatten()
        links = None
        if self.manifest.held_out is not None:
            found = self._arrays(rank, LINKS, checked) | {"inner_ids": whole.inner_ids}
            links = self._part_graph(rank, found)
        return Part(whole, training, rows, self._node_data(nodes), links)

    def inner_ids(self, rank: int) -> Tensor:
        """The global ids of a part's inner nodes, ``[n]``."""
        return self._arrays(rank, GRAPH)["inner_ids"]

    def _arrays(self, rank: int, name: str, checked: bool = False) -> dict[str, Tensor]:
        relative = f"{part_folder(rank)}/{name}"
        entry = self.manifest.files.get(relative)
        path = self.folder / relative
        if entry is None or not path.is_file() or path.stat().st_size != entry.size:
            raise DamagedFileError(
                f"{path}: missing or not of the size the manifest says; "
                f"look with: gcnsys partition verify {self.folder}"
            )
        if checked:
            entry.entry().check(path, str(path))
        arrays = load_arrays(path, name=str(path))
        for key, about in entry.arrays.items():
            found = arrays.get(key)
            if found is None or _looks(found) != (about["dtype"], about["shape"]):
                raise DamagedFileError(
                    f"{path}: array {key!r} is not as the manifest says; "
                    f"look with: gcnsys partition verify {self.folder}"
                )
        return arrays

    def _part_graph(self, rank: int, arrays: Mapping[str, Tensor]) -> PartGraph:
        plan = ExchangePlan(
            arrays["send_rows"], tuple(arrays["send_counts"].tolist()),
            tuple(arrays["recv_counts"].tolist()), arrays["send_edges"],
        )  # fmt: skip
        inner, halo = arrays["inner_ids"], arrays["halo_ids"]
        return PartGraph(
            rank, inner, halo, _csr(arrays, "inner", inner.numel()), _csr(arrays, "halo", halo.numel()),
            _degrees(arrays, "inner"), _degrees(arrays, "halo"), plan, self.manifest.symmetric,
        )  # fmt: skip

    def _node_data(self, nodes: Mapping[str, Tensor]) -> NodeData:
        x: Tensor | SparseRows
        if self.manifest.sparse_features:
            csr = CSR(nodes["x_indptr"], nodes["x_indices"], int(nodes["x_columns"]), nodes["x_data"])
            x = SparseRows.from_csr(csr)
        else:
            x = nodes["x"]
        masks = nodes["train_mask"], nodes["val_mask"], nodes["test_mask"]
        return NodeData(x, nodes["y"], *masks, nodes.get("node_type"))

    def verify(self) -> Iterator[tuple[str, str | None]]:
        """Compare every file with its checksum; yields (file, what is wrong or None)."""
        for name, entry in sorted(self.manifest.files.items()):
            try:
                entry.entry().check(self.folder / name, str(self.folder / name))
            except DamagedFileError as error:
                yield name, str(error)
            else:
                yield name, None
        known = {NAME, SEAL, *self.manifest.files}
        for path in sorted(self.folder.rglob("*")):
            relative = path.relative_to(self.folder).as_posix()
            if path.is_file() and relative not in known:
                yield relative, f"{path}: not part of this partitioning; remove it"


def _looks(array: Tensor) -> tuple[str, list[int]]:
    return str(array.dtype).removeprefix("torch."), list(array.shape)


def _csr(arrays: Mapping[str, Tensor], name: str, num_cols: int) -> CSR:
    columns = {column: arrays[f"{name}_{column}"] for column in EDGE_COLUMNS if f"{name}_{column}" in arrays}
    weight = arrays.get(f"{name}_weight")
    return CSR(arrays[f"{name}_indptr"], arrays[f"{name}_indices"], num_cols, weight, columns)


def _degrees(arrays: Mapping[str, Tensor], name: str) -> Degrees:
    return Degrees(arrays[f"{name}_degree_in"], arrays[f"{name}_degree_out"], arrays[f"{name}_added_loop"])
