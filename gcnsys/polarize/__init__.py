"""Graph polarization: a graph is trained into dense diagonal blocks and a remainder (GCoD, HPCA 2022)."""

from gcnsys.polarize.pipeline import Polarized, PolarizeSettings, polarize
from gcnsys.polarize.published import as_published, as_released
from gcnsys.polarize.share import alone, shared
from gcnsys.polarize.split import Split, SplitSettings, laid_out, split
from gcnsys.polarize.tune import TuneSettings

__all__ = [
    "PolarizeSettings", "Polarized", "Split", "SplitSettings", "TuneSettings", "alone", "as_published",
    "as_released", "laid_out", "polarize", "shared", "split",
]  # fmt: skip
