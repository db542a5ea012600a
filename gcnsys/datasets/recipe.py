"""What a synthetic graph should be like: ``KIND[,key=value...]`` and its defaults."""

from dataclasses import asdict, dataclass

import numpy as np

from gcnsys.errors import InputError
from gcnsys.registry import unknown

Form = tuple[tuple[int, ...], type[np.generic]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What to make; all but the last two are the keys of ``synthetic:KIND,key=value...``.

    Attributes:
        nodes: N.
        degree: edges a node, on average; fixes ``edges`` where that is -1.
        edges: pairs joined (stored both ways), or directed edges.
        features: F.
        classes: C, at most N.
        inside: share of the edges that join nodes of one class.
        spread: how far apart the classes' centers lie, in deviations of the noise.
        mixed: share of the nodes that show another class's features.
        wrong: share of the nodes whose label is another class's.
        weights: 1 adds edge weights, uniform from 0.5 to 1.5.
        seed: of everything.
        power_law: whether degrees follow a power law and class sizes fall off; else both are even.
        directed: whether edges go one way.
    """

    nodes: int = 1000
    degree: float = 10.0
    edges: int = -1
    features: int = 32
    classes: int = 5
    inside: float = 0.8
    spread: float = 0.3
    mixed: float = 0.0
    wrong: float = 0.0
    weights: int = 0
    seed: int = 0
    power_law: bool = False
    directed: bool = False

    def __post_init__(self) -> None:
        lowest = {"nodes": 1, "features": 1, "classes": 1, "edges": -1}
        highest = dict.fromkeys(("inside", "mixed", "wrong", "weights"), 1)
        highest |= {"nodes": 2**31 - 1, "classes": self.nodes}
        for key in _KEYS:
            value, low, high = getattr(self, key), lowest.get(key, 0), highest.get(key, 2**62)
            if not low <= value <= high:
                raise InputError(f"{key} must be between {low} and {high}, got {value}")
        ways = 1 if self.directed else 2
        pairs = self.nodes * (self.nodes - 1) // ways
        if self.edges < 0:
            object.__setattr__(self, "edges", round(self.nodes * self.degree / ways))
        if self.edges > pairs:
            raise InputError(
                f"{self.edges:,} edges do not fit {self.nodes:,} nodes, which have {pairs:,} "
                f"{'ordered ' if self.directed else ''}pairs; lower edges or degree, or raise nodes"
            )

    def stream(self, *key: int) -> np.random.Generator:
        """The random numbers kept for one purpose."""
        return np.random.default_rng([self.seed, *key])

    def forms(self) -> dict[str, Form]:
        """Shape and type of the large arrays."""
        stored = self.edges if self.directed else 2 * self.edges
        forms: dict[str, Form] = {"edge_index": ((2, stored), np.int32)}
        forms["x"] = (self.nodes, self.features), np.float32
        if self.weights:
            forms["edge_weight"] = (stored,), np.float32
        return forms


_KEYS = tuple(key for key in Recipe.__dataclass_fields__ if key not in ("power_law", "directed"))
KINDS: dict[str, Recipe] = {
    "sbm": Recipe(),
    "reddit": Recipe(
        nodes=233_000, degree=2 * 57_300_000 / 233_000, features=602, classes=41, inside=0.72,
        mixed=0.5, wrong=0.03, seed=7, power_law=True,
    ),
    "directed": Recipe(power_law=True, directed=True),
}  # fmt: skip


def recipe(argument: str) -> Recipe:
    """Read ``KIND[,key=value...]``.

    Raises:
        InputError: an unknown kind or key, or a value that is no number or out of range.
    """
    kind, *settings = argument.split(",")
    if kind not in KINDS:
        raise unknown("synthetic graph", kind, KINDS)
    values = asdict(KINDS[kind]) | {"edges": -1}
    given: set[str] = set()
    for setting in settings:
        key, _, text = setting.partition("=")
        if key not in _KEYS:
            raise unknown(f"key in synthetic:{argument}:", key, _KEYS)
        if key in given or given | {key} >= {"edges", "degree"}:
            raise InputError(f"synthetic:{argument}: give a key once, and edges or degree, not both")
        given.add(key)
        try:
            values[key] = float(text) if isinstance(values[key], float) else int("+" + text)
        except ValueError as error:
            number = "number" if isinstance(values[key], float) else "whole number of at least 0"
            raise InputError(f"synthetic:{argument}: {key} must be a {number}, got {text!r}") from error
    try:
        return Recipe(**values)
    except InputError as error:
        raise InputError(f"synthetic:{argument}: {error}") from error
