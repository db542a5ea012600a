"""The graphs that kernels are measured on, as a GCN sees them: symmetric, without loops."""

from experiments.runfile import data_folder
from gcnsys.datasets import load
from gcnsys.graph import Graph

REAL = (
    "cora", "citeseer", "dblp_full", "coauthor_cs", "facebook_pages", "amazon_photo", "blogcatalog_attr",
    "tolokers",
)  # fmt: skip


def named(name: str) -> Graph:
    """One of ``REAL``, or the graph of any dataset SPEC."""
    spec = f"npz:{data_folder() / name}.npz" if name in REAL else name
    return load(spec).graph.symmetrized().without_self_loops()
