"""The graphs that kernels are measured on, as a GCN sees them: symmetric, without loops."""

import os
from pathlib import Path

from gcnsys.datasets import load
from gcnsys.graph import Graph

REAL = (
    "cora", "citeseer", "dblp_full", "coauthor_cs", "facebook_pages", "amazon_photo", "blogcatalog_attr",
    "tolokers",
)  # fmt: skip


def data_folder() -> Path:
    """Where the real graphs lie."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get("GCNSYS_DATA", beside))


def named(name: str) -> Graph:
    """One of ``REAL``, or the graph of any dataset SPEC."""
    spec = f"npz:{data_folder() / name}.npz" if name in REAL else name
    return load(spec).graph.symmetrized().without_self_loops()
