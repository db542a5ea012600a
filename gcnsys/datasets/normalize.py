"""Scaling of input features."""

from typing import Literal, get_args

import torch

from gcnsys.datasets.dataset import Dataset
from gcnsys.errors import InputError
from gcnsys.graph import CSR
from gcnsys.registry import unknown

Normalization = Literal["auto", "none", "row", "standard"]

PUBLISHED: dict[str, Literal["row", "standard"]] = {
    # Kipf & Welling 2017: word counts divided by their sum.
    "cora": "row", "citeseer": "row", "pubmed": "row",
    # BNS-GCN's and GraphSAINT's code: standardized by the training nodes.
    "yelp": "standard",
}  # fmt: skip


def default_for(name: str) -> Literal["none", "row", "standard"]:
    """The published scaling of a dataset, by the last word of its name."""
    return PUBLISHED.get(name.lower().replace("_", "-").split("-")[-1], "none")


def normalized(dataset: Dataset, how: Normalization) -> Dataset:
    """Scale features: ``row`` makes each row's absolute values add up to 1, ``standard`` makes each
    column's mean 0 and deviation 1 over the training nodes.
    """  # noqa: D205
    if how not in get_args(Normalization):
        raise unknown("normalization", how, get_args(Normalization))
    if how == "auto":
        how = default_for(dataset.name)
    if how == "none":
        return dataset
    if how == "row":
        return dataset.noted("features: each row divided by its sum", x=_row_normalized(dataset.x))
    if isinstance(dataset.x, CSR):
        raise InputError(
            f"{dataset.name}: standardizing would fill sparse features in; use --normalize row or none"
        )
    train = dataset.x[dataset.train_mask].double()
    mean, deviation = train.mean(0), train.std(0, unbiased=False)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    x = (dataset.x - mean.float()).div_(deviation.float())
    return dataset.noted("features: standardized by the training nodes", x=x)


def _row_normalized(x: torch.Tensor | CSR) -> torch.Tensor | CSR:
    if isinstance(x, CSR):
        assert x.weight is not None
        sums = CSR(x.indptr, x.indices, x.num_cols, x.weight.abs()).row_sums()
        inverse = torch.where(sums > 0, 1 / sums, 0.0)
        weight = (x.weight.double() * inverse[x.rows().long()]).float()
        return CSR(x.indptr, x.indices, x.num_cols, weight)
    sums = x.abs().sum(1, keepdim=True)
    return x * torch.where(sums > 0, 1 / sums, 0.0)
