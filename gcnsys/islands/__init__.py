"""Islands between hubs, and sums that neighbours share (I-GCN, Geng et al., MICRO 2021)."""

from gcnsys.islands.locate import Islands, locate
from gcnsys.islands.matrix import SharedMatrix, shared_block
from gcnsys.islands.plan import Count, ReusePlan, looped
from gcnsys.islands.share import shared_sums
from gcnsys.kernels.islands import Rounds

__all__ = [
    "Count", "Islands", "ReusePlan", "Rounds", "SharedMatrix", "locate", "looped", "shared_block",
    "shared_sums",
]  # fmt: skip
