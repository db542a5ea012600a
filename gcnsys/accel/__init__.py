"""What a trained graph would cost on an accelerator, by estimate."""

from gcnsys.accel.accelerator import Accelerator, load, names
from gcnsys.accel.blocks import BlockCounts, Blocks
from gcnsys.accel.estimate import Estimate, StepCost
from gcnsys.accel.islands import IslandTasks
from gcnsys.accel.published import GraphCounts, counts, graphs
from gcnsys.accel.step import Layer, Step, WeightGroups
from gcnsys.accel.structure import Structure
from gcnsys.accel.work import Work, model_work

__all__ = [
    "Accelerator", "BlockCounts", "Blocks", "Estimate", "GraphCounts", "IslandTasks", "Layer", "Step",
    "StepCost", "Structure", "WeightGroups", "Work", "counts", "graphs", "load", "model_work", "names",
]  # fmt: skip
