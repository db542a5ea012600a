"""A name or a path -> a graph with features, labels and masks."""

from gcnsys.datasets.dataset import Dataset, Split
from gcnsys.datasets.spec import load, loaders

__all__ = ["Dataset", "Split", "load", "loaders"]
