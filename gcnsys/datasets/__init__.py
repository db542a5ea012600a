"""A name or a path -> a graph with features, labels and masks."""

from gcnsys.datasets.dataset import Dataset
from gcnsys.datasets.spec import load, loaders

__all__ = ["Dataset", "load", "loaders"]
