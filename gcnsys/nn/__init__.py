"""Models over blocks: ``model(blocks, x)``, one block a layer."""

from gcnsys.nn.attention import GATConv, GATv2Conv
from gcnsys.nn.conv import Conv, GCNConv, GINConv, SAGEConv
from gcnsys.nn.dropout import KeyedDropout, set_dropout_epoch
from gcnsys.nn.first_hop import FirstHop, first_hop
from gcnsys.nn.linear import Linear
from gcnsys.nn.model import GNN, ModelSettings, build_model, models
from gcnsys.nn.norm import BatchNorm, LayerNorm

__all__ = [
    "GNN", "BatchNorm", "Conv", "FirstHop", "GATConv", "GATv2Conv", "GCNConv", "GINConv", "KeyedDropout",
    "LayerNorm", "Linear", "ModelSettings", "SAGEConv", "build_model", "first_hop", "models",
    "set_dropout_epoch",
]  # fmt: skip
