"""How accelerators compute: a module each."""

from typing import Annotated

from pydantic import Field

from gcnsys.accel.mechanisms.awb import AWBGCN
from gcnsys.accel.mechanisms.gcnax import GCNAX
from gcnsys.accel.mechanisms.gcnear import GCNear
from gcnsys.accel.mechanisms.gcod import GCoD
from gcnsys.accel.mechanisms.hygcn import HyGCN
from gcnsys.accel.mechanisms.igcn import IGCN
from gcnsys.accel.mechanisms.roofline import Roofline
from gcnsys.accel.mechanisms.template import Template

AnyMechanism = Annotated[
    AWBGCN | GCNAX | GCNear | GCoD | HyGCN | IGCN | Roofline | Template, Field(discriminator="kind")
]

__all__ = [
    "AWBGCN",
    "GCNAX",
    "IGCN",
    "AnyMechanism",
    "GCNear",
    "GCoD",
    "HyGCN",
    "Roofline",
    "Template",
]
