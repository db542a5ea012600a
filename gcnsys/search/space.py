"""The space that is searched: a model's shape, and an accelerator of the template. It is our own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from gcnsys.accel import Accelerator
from gcnsys.accel.mechanisms.template import DATAFLOWS, Dataflow
from gcnsys.accel.step import WeightGroups
from gcnsys.accel.structure import Kind
from gcnsys.accel.work import Order
from gcnsys.search.budget import MACS_PER_DSP, Budget

KINDS: tuple[Kind, ...] = ("gcn", "sage", "gin")
DEPTHS = (2, 3)
WIDTHS = (8, 16, 32, 64)
BITS = tuple(sorted(MACS_PER_DSP))
PRUNED = (0.0, 0.05, 0.1, 0.2)
GROUP = 4
"""Outputs side by side of which each input keeps equally many weights."""
KEPT = (2, 4)
SUBS = (1, 2, 3, 4)
TILES = (1, 2, 4, 8, 16, 32)
CLOCKS = (0.6, 0.8, 1.0)
ORDERS: tuple[Order, ...] = ("xw", "narrower")

CHOICES: dict[str, Sequence[Any]] = {
    "kind": KINDS, "layers": DEPTHS, "hidden": WIDTHS, "bits": BITS, "pruned": PRUNED, "kept": KEPT,
    "subs": SUBS, "dataflow": DATAFLOWS, "order": ORDERS, "tile": TILES, "clock": CLOCKS,
    "skips": (False, True),
}  # fmt: skip
"""What is picked from, by name; shares of elements and buffers are picked from a range."""

EFFICIENCY: dict[Dataflow, tuple[float, str]] = {
    "columns": (0.4535, "AWB-GCN's in gcnsys: fitted to I-GCN table 2, unexplained"),
    "blocks": (0.771, "GCoD's in gcnsys: fitted to its table VI, unexplained"),
    "islands": (1.0, "I-GCN's in gcnsys: its latencies follow without a constant"),
}

Value = TypeVar("Value", str, int, float)


class Chooser(Protocol):
    """What picks a value: a trial of an optimizer."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...

    def suggest_float(self, name: str, low: float, high: float) -> float: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """A model on the graph.

    Attributes:
        kind: of its layers, each with its own aggregation: gcn (weighted sum), sage (mean), gin (sum).
        layers: how many.
        hidden: width between them.
        bits: of weights and rows.
        pruned: the share of edges that is dropped, the farthest of the diagonal first.
        kept: weights of each ``GROUP`` that are not zero.
    """

    kind: Kind = "gcn"
    layers: int = 2
    hidden: int = 16
    bits: int = 32
    pruned: float = 0.0
    kept: int = GROUP

    @property
    def weight_groups(self) -> WeightGroups | None:
        """The pattern of weights that are not zero, or None where all of them may be."""
        return None if self.kept == GROUP else WeightGroups(GROUP, self.kept)

    def widths(self, features: int, classes: int) -> list[int]:
        """Of inputs, between layers, of outputs."""
        return [features, *[self.hidden] * (self.layers - 1), classes]


@dataclass(frozen=True, slots=True)
class Hardware:
    """An accelerator of the template.

    Attributes:
        dataflow, order, tile, skips: see :class:`gcnsys.accel.mechanisms.template.Template`.
        elements, buffers: shares of each sub-accelerator, not yet divided by their sum.
        clock: share of the most that the budget allows.
    """

    dataflow: Dataflow
    order: Order
    elements: tuple[float, ...]
    buffers: tuple[float, ...]
    tile: int
    clock: float
    skips: bool = False

    def accelerator(self, budget: Budget, bits: int) -> Accelerator:
        """The accelerator, with a source for each number."""
        efficiency, source = EFFICIENCY[self.dataflow]
        found = "found by gcnsys cosearch"
        sources = {f"mechanism.{name}": found for name in ("dataflow", "layer_order", "tile_columns")}
        sources["mechanism.skips_weights"] = found
        sources |= {f"mechanism.{name}": found for name in ("element_shares", "buffer_shares")}
        limit = "the budget"
        values = {
            "name": "found", "summary": "found by gcnsys cosearch",
            "chip": {
                "macs": budget.macs(bits), "clock_mhz": self.clock * budget.clock,
                "on_chip_bytes": budget.bram, "bandwidth_gb_per_s": budget.bandwidth, "value_bits": bits,
                "index_bits": 32, "resident": True,
            },
            "mechanism": {
                "kind": "template", "dataflow": self.dataflow, "layer_order": self.order,
                "element_shares": list(self.elements), "buffer_shares": list(self.buffers),
                "tile_columns": self.tile, "skips_weights": self.skips,
            },
            "fit": {"efficiency": efficiency, "uncertainty": 1.5},
            "sources": sources | {
                "chip.macs": f"{limit}: {budget.dsp:g} DSP slices at {bits} bits (GCoD table V)",
                "chip.clock_mhz": f"{found}, at most {budget.clock:g}", "chip.on_chip_bytes": limit,
                "chip.bandwidth_gb_per_s": limit, "chip.value_bits": found, "chip.index_bits": "as GCoD",
                "chip.resident": "presumed, as of all published latencies here", "fit.efficiency": source,
                "fit.uncertainty": "that of the accelerators whose dataflows it takes",
            },
        }  # fmt: skip
        return Accelerator.checked(values, "template")


@dataclass(frozen=True, slots=True)
class Design:
    """A model and an accelerator."""

    shape: Shape
    hardware: Hardware

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"model": asdict(self.shape), "accelerator": asdict(self.hardware)}


def chosen(by: Chooser) -> Design:
    """A design, each of its parts picked in turn; all trials have the same parts."""

    def pick(name: str) -> Any:
        return by.suggest_categorical(name, CHOICES[name])

    shape = Shape(*(pick(name) for name in ("kind", "layers", "hidden", "bits", "pruned", "kept")))
    subs = pick("subs")
    elements = tuple(by.suggest_float(f"elements {number}", 0.02, 1.0) for number in range(max(SUBS)))
    buffers = tuple(by.suggest_float(f"buffers {number}", 0.02, 1.0) for number in range(max(SUBS)))
    hardware = Hardware(
        pick("dataflow"), pick("order"), elements[:subs], buffers[:subs], pick("tile"), pick("clock"),
        pick("skips"),
    )  # fmt: skip
    return Design(shape, hardware)
