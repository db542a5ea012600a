"""How accelerators compute: a module each."""

from typing import Annotated, get_args

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

KINDS = frozenset(
    str(get_args(mechanism.model_fields["kind"].annotation)[0])
    for mechanism in get_args(get_args(AnyMechanism)[0])
)
"""The names that an accelerator file calls them by."""

__all__ = [
    "AWBGCN",
    "GCNAX",
    "IGCN",
    "KINDS",
    "AnyMechanism",
    "GCNear",
    "GCoD",
    "HyGCN",
    "Roofline",
    "Template",
]
