"""Islands between hubs, and sums that neighbours share (I-GCN, Geng et al., MICRO 2021)."""

from gcnsys.islands.locate import Islands, Rounds, locate

__all__ = ["Islands", "Rounds", "locate"]
