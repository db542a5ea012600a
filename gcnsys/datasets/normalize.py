"""Scaling of input features."""

from typing import Literal, get_args

from gcnsys.datasets.dataset import Dataset
from gcnsys.datasets.scaling import How, Scaling
from gcnsys.errors import InputError
from gcnsys.registry import unknown

Normalization = Literal["auto", "none", "row", "standard"]

PUBLISHED: dict[str, Literal["row", "standard"]] = {
    # Kipf & Welling 2017: word counts divided by their sum.
    "cora": "row", "citeseer": "row", "pubmed": "row",
    # BNS-GCN's and GraphSAINT's code: standardized by the training nodes.
    "yelp": "standard",
}  # fmt: skip

_NOTES = {"row": "each row divided by its sum", "standard": "standardized by the training nodes"}


def default_for(name: str) -> How:
    """The published scaling of a dataset, by the last word of its name."""
    return PUBLISHED.get(name.lower().replace("_", "-").split("-")[-1], "none")


def normalized(dataset: Dataset, how: Normalization | Scaling) -> Dataset:
    """Scale features: ``row`` makes each row's absolute values add up to 1, ``standard`` makes each
    column's mean 0 and deviation 1 over the training nodes; a scaling, by what others were scaled by.
    """  # noqa: D205
    if not isinstance(how, Scaling) and how not in get_args(Normalization):
        raise unknown("normalization", how, get_args(Normalization))
    try:
        if isinstance(how, Scaling):
            note = {**_NOTES, "standard": "standardized as those that the model was trained on"}
            return _scaled(dataset, how, note)
        chosen = default_for(dataset.name) if how == "auto" else how
        return _scaled(dataset, Scaling.fitted(chosen, dataset.x, dataset.train_mask), _NOTES)
    except InputError as error:
        raise InputError(f"{dataset.name}: {error}") from error


def _scaled(dataset: Dataset, scaling: Scaling, notes: dict[str, str]) -> Dataset:
    if scaling.how == "none":
        return dataset
    return dataset.noted(f"features: {notes[scaling.how]}", x=scaling.applied(dataset.x), scaling=scaling)
