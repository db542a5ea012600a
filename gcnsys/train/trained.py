"""What a run has left: its model, to be used."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from gcnsys.datasets import Split
from gcnsys.datasets.scaling import Scaling
from gcnsys.errors import DamagedFileError, InputError
from gcnsys.files import load_arrays
from gcnsys.nn import Model, build_model
from gcnsys.train.checkpoint import run_folder
from gcnsys.train.config import RunConfig
from gcnsys.train.folder import CONFIG, SCALING, SUMMARY
from gcnsys.train.preparation import Preparation

Which = Literal["best", "final"]
"""Weights of the epoch that validation liked best, or of the last one."""


@dataclass(frozen=True, eq=False, slots=True)
class TrainedRun:
    """A finished run.

    Attributes:
        folder: of the run.
        config: it was asked for.
        num_features: its model reads.
        num_classes: how wide the rows are that its model gives.
        edge_kinds: of the graph it was trained on.
        links: are what it was trained to predict.
        multilabel, regression: a node has several labels, or numbers.
        preparation: of a dataset, so that it is what the model was trained on.
        state: the model's weights.
    """

    folder: Path
    config: RunConfig
    num_features: int
    num_classes: int
    edge_kinds: int
    links: bool
    multilabel: bool
    regression: bool
    preparation: Preparation
    state: dict[str, Tensor]

    @classmethod
    def open(cls, run: Path, which: Which = "best") -> Self:
        """Open a run's folder.

        Raises:
            InputError: it holds no finished run.
            DamagedFileError: a file of it cannot be read.
        """
        folder = run_folder(run)
        if not (folder / CONFIG).is_file():
            raise InputError(f"{folder} holds no run ({CONFIG} is missing); name the folder of one")
        if not (folder / SUMMARY).is_file():
            raise InputError(
                f"{folder}: the run is not finished ({SUMMARY} is missing); go on with: gcnsys train "
                f"--resume {folder}"
            )
        config = RunConfig.checked(RunConfig.read(folder / CONFIG))
        summary = _summary(folder / SUMMARY)
        path = folder / f"{which}.safetensors"
        state = load_arrays(path, name=str(path))
        width, classes, kinds = (summary[name] for name in ("num_features", "num_classes", "edge_kinds"))
        links, several, numbers = (
            summary.get(name) is True for name in ("links", "multilabel", "regression")
        )
        preparation = _preparation(folder, config, summary)
        return cls(folder, config, width, classes, kinds, links, several, numbers, preparation, state)

    def model(self) -> Model:
        """The model with its weights, in evaluation mode.

        Raises:
            DamagedFileError: the weights are not those of the model that was configured.
        """
        settings = self.config.model_settings(self.edge_kinds)
        model = build_model(settings, self.num_features, self.num_classes, seed=0)
        model.to(getattr(torch, self.config.dtype))
        try:
            model.load_state_dict(self.state)
        except RuntimeError as error:
            cause = " ".join(str(error).split())
            raise DamagedFileError(
                f"{self.folder}: the weights are not those of the configured model ({cause[:300]}); "
                f"train it again"
            ) from error
        return model.eval()


def _preparation(folder: Path, config: RunConfig, summary: dict[str, Any]) -> Preparation:
    """How the graph was made ready, as far as the run noted it."""
    directed, how = summary.get("directed"), summary.get("normalization")
    scaling = {"none": Scaling(), "row": Scaling("row")}.get(how or "")
    if how == "standard" and (folder / SCALING).is_file():
        arrays = load_arrays(folder / SCALING, name=str(folder / SCALING))
        scaling = Scaling("standard", arrays["mean"], arrays["deviation"])
    return Preparation(
        config.directed if directed is None else directed,
        config.normalize if scaling is None else scaling,
        Split(of="nothing"), exact=directed is not None,
    )  # fmt: skip


def _summary(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        least = {"num_features": 1, "num_classes": 1, "edge_kinds": 0}
        if any(not isinstance(found[name], int) or found[name] < size for name, size in least.items()):
            raise ValueError("sizes that no model has")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{path}: does not say how wide the model is; train it again") from error
    summary: dict[str, Any] = found
    return summary
