"""How a dataset is made ready to be cut: as a configuration asks, or as it was for a trained model."""

from dataclasses import dataclass
from typing import Any, Self

from gcnsys.datasets import Dataset, Split
from gcnsys.datasets.normalize import Normalization
from gcnsys.datasets.scaling import Scaling
from gcnsys.datasets.spec import load
from gcnsys.errors import InputError
from gcnsys.partition.manifest import Manifest
from gcnsys.train.config import RunConfig


@dataclass(frozen=True, eq=False, slots=True)
class Preparation:
    """What is done to a dataset.

    Attributes:
        directed: edges stay as they are stored.
        normalization: of features; a scaling where others were scaled before.
        split: of nodes or links; of nothing: labels are not looked at.
        exact: what is cut already must have been made ready in the same way; otherwise the usual settings ask
            for nothing.
    """

    directed: bool
    normalization: Normalization | Scaling
    split: Split
    exact: bool = False

    @classmethod
    def asked(cls, config: RunConfig) -> Self:
        """What a configuration says."""
        return cls(config.directed, config.normalize, config.data_split())

    def load(self, spec: str) -> Dataset:
        """A dataset by its name, made ready.

        Raises:
            InputError: there is none of that name, or its content cannot be used.
        """
        return load(spec, split=self.split, undirected=not self.directed, normalization=self.normalization)

    def decided(self) -> list[Any]:
        """Everything that decides what comes out, as JSON can hold it."""
        how = self.normalization
        scaled = [how.how, how.mean.tolist(), how.deviation.tolist()] if isinstance(how, Scaling) else how
        split = self.split
        return [self.directed, scaled, split.train, split.val, split.test, split.seed, split.of]

    def check(self, manifest: Manifest, where: object) -> None:
        """Refuse what was cut when it was ready in another way.

        Args:
            manifest: of the partitioning.
            where: it lies.

        Raises:
            InputError: edges or features are not as they should be.
        """
        minded = self.exact or self.directed
        if minded and manifest.mirrored is not None and manifest.mirrored == self.directed:
            was, should = ("undirected", "as stored") if self.directed else ("as stored", "undirected")
            raise InputError(
                f"{where}: its edges are {was}, and should be {should}; build another partitioning, or "
                f"{'drop' if self.directed else 'give'} --directed"
            )
        how, found = self.normalization, manifest.scaling
        if found is None or how == "auto":
            return
        if isinstance(how, Scaling) and not how.same(found):
            raise InputError(
                f"{where}: its features are scaled by other numbers (normalize = {found.how}) than those the "
                f"model was trained on (normalize = {how.how}); name its dataset, to be scaled like those"
            )
        if not isinstance(how, Scaling) and how != found.how:
            raise InputError(
                f"{where} was cut with normalize = {found.how}, which normalize = {how} cannot change; drop "
                f"it, or build another partitioning with it"
            )
