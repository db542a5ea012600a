"""Graphs that are known by their counts: those of published evaluations, and a user's own.

A count is enough for most mechanisms, and all there is of graphs that cannot be loaded here. The number of
edges is always explicit: two graphs are called Reddit, and two NELL.
"""

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import Field

from gcnsys.accel.settings import Settings
from gcnsys.accel.step import WeightGroups
from gcnsys.accel.structure import Kind, Structure
from gcnsys.accel.work import Work, model_work
from gcnsys.registry import unknown


class GraphCounts(Settings):
    """A graph by its counts.

    Attributes:
        nodes: N.
        edges: directed, without self-loops.
        features, classes: widths of inputs and outputs.
        hidden: width between layers, where none is asked for.
        feature_density: the share of features that is not zero.
        hidden_density: the share of hidden rows that is not zero.
        source: where the numbers come from.
    """

    nodes: int = Field(ge=1)
    edges: int = Field(ge=0)
    features: int = Field(ge=1)
    classes: int = Field(ge=1)
    hidden: int = Field(16, ge=1)
    feature_density: float = Field(1.0, ge=0, le=1)
    hidden_density: float = Field(1.0, ge=0, le=1)
    source: str

    def structure(self, kind: Kind = "gcn") -> Structure:
        """A + I, an entry for each edge and each node; A for layers that treat a node's own row apart."""
        return Structure(self.nodes, self.edges + (0 if kind == "sage" else self.nodes))

    def work(
        self, name: str, *, hidden: int | None = None, layers: int = 2, kind: Kind = "gcn",
        hidden_density: float | Sequence[float] | None = None, training: bool = False,
        bits: int | None = None, weight_groups: WeightGroups | None = None,
    ) -> Work:  # fmt: skip
        """A model on it."""
        widths = [self.features, *[hidden or self.hidden] * (layers - 1), self.classes]
        share = self.hidden_density if hidden_density is None else hidden_density
        return model_work(
            name, self.structure(kind), widths, self.feature_density, kind=kind, hidden_density=share,
            training=training, bits=bits, weight_groups=weight_groups,
        )  # fmt: skip


def graphs() -> dict[str, GraphCounts]:
    """Those that come with gcnsys, by name."""
    text = (files("gcnsys.accel") / "catalogue" / "graphs.toml").read_text()
    return {name: GraphCounts.checked(values, name) for name, values in tomllib.loads(text).items()}


def counts(argument: str) -> GraphCounts:
    """A graph by name, or that of a file ``*.toml`` with one graph's fields.

    Raises:
        InputError: no such graph, or not such a file.
    """
    if argument.endswith(".toml"):
        return GraphCounts.read(Path(argument), "a graph's counts")
    known = graphs()
    if argument not in known:
        raise unknown("graph known by its counts", argument, known)
    return known[argument]
