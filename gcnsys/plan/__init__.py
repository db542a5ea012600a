"""Memory, traffic and time of a run before it is made, and which method to take.

What crosses follows from the cut, byte by byte; what is held, from what layers keep; how long it takes, from
how fast this machine computes that model and from the network. Nothing is trained but a few epochs on a part
alone.
"""

from gcnsys.plan import units
from gcnsys.plan.base import base_bytes
from gcnsys.plan.choice import Recommendation, recommend
from gcnsys.plan.cuts import Counts, Cut
from gcnsys.plan.job import Job
from gcnsys.plan.methods import Method, methods
from gcnsys.plan.network import Network
from gcnsys.plan.pace import Pace, measured, stated
from gcnsys.plan.planned import Plan, plan
from gcnsys.plan.predict import Prediction, memory_bytes, predict
from gcnsys.plan.subject import Subject, of_partitioning, subject

__all__ = [
    "Counts", "Cut", "Job", "Method", "Network", "Pace", "Plan", "Prediction", "Recommendation", "Subject",
    "base_bytes", "measured", "memory_bytes", "methods", "of_partitioning", "plan", "predict", "recommend",
    "stated", "subject", "units",
]  # fmt: skip
