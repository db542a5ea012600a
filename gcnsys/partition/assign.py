"""Assignments: which part each node belongs to.

A method is a function ``(graph, request) -> [N] int32``; third parties add theirs under the entry
point group ``gcnsys.partition_methods``.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gcnsys.errors import InputError
from gcnsys.graph import Graph
from gcnsys.partition.metis import metis
from gcnsys.partition.stream import stream
from gcnsys.registry import Registry

Objective = Literal["cut", "volume"]
Balance = Literal["nodes", "train", "edges"]


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    """What an assignment should be like.

    Attributes:
        num_parts: P.
        objective: minimize the number of cut edges, or of rows that cross (sum of halo sizes).
        load: ``[N]`` int64, what is balanced over the parts; None: every node counts 1.
        seed: of everything random.
        argument: the text after the colon of a method's name.
    """

    num_parts: int
    objective: Objective = "volume"
    load: Tensor | None = None
    seed: int = 0
    argument: str = ""


Method = Callable[[Graph, Request], Tensor]
methods: Registry[Method] = Registry("partition method", "gcnsys.partition_methods")


@methods.register("metis")
def _metis(graph: Graph, request: Request) -> Tensor:
    return metis(
        graph, request.num_parts, volume=request.objective == "volume", load=request.load, seed=request.seed
    )


@methods.register("random")
def _random(graph: Graph, request: Request) -> Tensor:
    """Parts of equal size, drawn at random."""
    dealt = np.arange(graph.num_nodes, dtype=np.int32) % request.num_parts
    return torch.from_numpy(np.random.default_rng(request.seed).permutation(dealt))


@methods.register("range")
def _range(graph: Graph, request: Request) -> Tensor:
    """Consecutive node ids; the sums of load are alike."""
    load = torch.ones(graph.num_nodes) if request.load is None else request.load.double()
    middle = load.cumsum(0) - load / 2
    share = middle / max(float(load.sum()), 1e-300)
    return (share * request.num_parts).to(torch.int32).clamp(max=request.num_parts - 1)


@methods.register("stream")
def _stream(graph: Graph, request: Request) -> Tensor:
    return stream(graph, request.num_parts, load=request.load, seed=request.seed)


@methods.register("file")
def _file(graph: Graph, request: Request) -> Tensor:
    """A user's own assignment: an ``[N]`` integer array in a ``.npy`` or text file."""
    path = Path(request.argument).expanduser()
    if not request.argument or not path.is_file():
        raise InputError(
            f"--method file:PATH: no file {request.argument!r}; give an [N] integer array (.npy)"
        )
    try:
        array = _numbers(path)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not an array of numbers ({error})") from error
    if array.shape != (graph.num_nodes,):
        raise InputError(f"{path}: an assignment needs shape [{graph.num_nodes}], got {list(array.shape)}")
    if array.dtype.kind not in "iufb" or not np.array_equal(array, np.floor(array)):
        raise InputError(f"{path}: an assignment must hold integers")
    if array.size and not 0 <= array.min() <= array.max() < request.num_parts:
        raise InputError(
            f"{path}: parts must be 0..{request.num_parts - 1} for --parts {request.num_parts}, "
            f"found {array.min():.0f}..{array.max():.0f}"
        )
    return torch.from_numpy(array.astype(np.int32))


def _numbers(path: Path) -> np.ndarray[Any, Any]:
    if path.suffix != ".npy":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file: its shape says so
            return np.loadtxt(path, ndmin=1)
    with path.open("rb") as file:
        array: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def load_of(graph: Graph, balance: Balance, train_mask: Tensor) -> Tensor | None:
    """What each node weighs, ``[N]`` int64, when parts are balanced in this sense.

    ``train`` gives training nodes and all nodes equal say, so that neither the training step nor
    evaluation is lopsided; ``edges`` counts a node's edges and itself.
    """
    if balance == "nodes":
        return None
    if balance == "edges":
        return graph.adjacency.indptr.diff() + 1
    extra = graph.num_nodes / max(int(train_mask.sum()), 1)
    return 1 + (train_mask * round(extra)).long()


def assign(graph: Graph, method: str, request: Request) -> Tensor:
    """Assign every node to a part by a named method.

    Returns:
        ``[N]`` int32 in ``[0, P)``. Where there are at least P nodes no part is empty, unless the
        assignment is the user's own.

    Raises:
        InputError: P does not fit the graph, or the method is unknown or refuses.
    """
    if request.num_parts < 1:
        raise InputError(f"--parts must be at least 1, got {request.num_parts}")
    if request.num_parts > graph.num_nodes:
        raise InputError(
            f"--parts {request.num_parts} is more than the graph's {graph.num_nodes} nodes; use fewer parts"
        )
    if request.seed < 0:
        raise InputError(f"--seed must be at least 0, got {request.seed}")
    name, _, argument = method.partition(":")
    chosen = methods.get(name)
    if request.num_parts == 1 and name != "file":
        return torch.zeros(graph.num_nodes, dtype=torch.int32)
    request = Request(request.num_parts, request.objective, request.load, request.seed, argument)
    assignment = chosen(graph, request)
    low, high = (int(end) for end in torch.aminmax(assignment))
    if assignment.shape != (graph.num_nodes,) or low < 0 or high >= request.num_parts:
        raise InputError(
            f"partition method {name!r} must give {graph.num_nodes} numbers in "
            f"0..{request.num_parts - 1}, got shape {list(assignment.shape)} over {low}..{high}"
        )
    return assignment if name == "file" else _without_empty_parts(assignment, request.num_parts)


def _without_empty_parts(assignment: Tensor, num_parts: int) -> Tensor:
    sizes = torch.bincount(assignment, minlength=num_parts)
    for empty in torch.nonzero(sizes == 0).flatten().tolist():
        largest = int(sizes.argmax())
        members = torch.nonzero(assignment == largest).flatten()
        moved = members[members.numel() - members.numel() // 2 :]
        assignment[moved] = empty
        sizes[empty], sizes[largest] = moved.numel(), members.numel() - moved.numel()
    return assignment
