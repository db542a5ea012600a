"""Models over blocks: ``model(blocks, x)``, one block a layer."""

from gcnsys.nn.attention import GATConv, GATv2Conv
from gcnsys.nn.conv import Conv, GCNConv, GINConv, SAGEConv
from gcnsys.nn.deep import GCNII, ResGCN
from gcnsys.nn.dropout import KeyedDropout, set_dropout_epoch
from gcnsys.nn.first_hop import FirstHop, first_hop
from gcnsys.nn.foreign import FromDGL, FromPyG
from gcnsys.nn.gen import GENConv
from gcnsys.nn.linear import Linear
from gcnsys.nn.model import Model, build_model, draw, models
from gcnsys.nn.norm import BatchNorm, LayerNorm
from gcnsys.nn.propagation import APPNP, SGC
from gcnsys.nn.relational import KindLinear, RGCNConv
from gcnsys.nn.settings import ModelSettings
from gcnsys.nn.stack import GNN

__all__ = [
    "APPNP", "GCNII", "GNN", "SGC", "BatchNorm", "Conv", "FirstHop", "FromDGL", "FromPyG", "GATConv",
    "GATv2Conv", "GCNConv", "GENConv", "GINConv", "KeyedDropout", "KindLinear", "LayerNorm", "Linear",
    "Model", "ModelSettings", "RGCNConv", "ResGCN", "SAGEConv", "build_model", "draw", "first_hop",
    "models", "set_dropout_epoch",
]  # fmt: skip
