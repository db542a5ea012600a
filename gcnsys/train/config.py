"""The configuration of a run: one flat, checked, frozen record.

A field is a key of a run file (``run.toml``), a ``--set key=value``, and an option of
``gcnsys train``; the resolved record is written next to the results as ``config.toml``.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gcnsys.datasets.dataset import Split
from gcnsys.datasets.normalize import Normalization
from gcnsys.errors import InputError
from gcnsys.kernels.block import Norm as GCNNorm
from gcnsys.nn import ModelSettings, models
from gcnsys.nn.conv import ExchangeSide
from gcnsys.nn.settings import Activation, Aggregation, NormName
from gcnsys.partition import Cutting, methods
from gcnsys.partition.assign import Balance, Objective
from gcnsys.partition.order import Order
from gcnsys.registry import unknown
from gcnsys.runtime.choices import Choices, DrawsPer, Schedule, Smoothing, SmoothingStart
from gcnsys.runtime.lane import Start
from gcnsys.runtime.process import Device
from gcnsys.sampling import samplers
from gcnsys.sampling.locality import Score
from gcnsys.train import drawing
from gcnsys.train.method import EXCHANGE, resolved
from gcnsys.train.view import FirstHopChoice, PruneChoice


class RunConfig(BaseModel):
    """Everything that decides what a run computes."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    data: str = Field(description="a partitioning's folder, or a dataset such as digits or npz:PATH")
    parts: int | None = Field(
        None, ge=1, description="cut into this many parts, one local rank each (default: 1)"
    )
    model: str = Field("gcn", description="gcn, sage, gin, gat, gatv2, resgcn, gcnii, appnp, sgc or rgcn")
    method: str = Field(
        "vanilla",
        description="how boundary rows cross: vanilla (exactly), bns, pipegcn, pipegcn-f, pipegcn-g, "
        "pipegcn-gf or custom",
    )
    rows: str = Field("all", description="which cross: all, none, uniform, importance, or a plug-in's")
    rate: float | None = Field(None, description="the share of rows that is drawn (default: 0.1)")
    draws_per: DrawsPer | None = Field(
        None, description="one draw for all layers of an epoch, or one each (default: epoch)"
    )
    schedule: Schedule = Field(
        "sync",
        description="wait for rows at once, after the inner work (overlap), or an epoch later (pipeline)",
    )
    staleness: int | None = Field(None, description="epochs from leaving to use in a pipeline (default: 1)")
    first_epoch: Start | None = Field(
        None, description="of a pipeline: wait for its rows, or take zeros (default: exact)"
    )
    codec: str = Field("fp32", description="in what form rows cross: fp32, bf16 or int8")
    smoothing: Smoothing = Field("off", description="what a pipeline averages over epochs")
    gamma: float | None = Field(None, description="weight of the past in that average (default: 0.95)")
    smoothing_start: SmoothingStart | None = Field(
        None, description="of that average: free of bias, or zero as published (default: corrected)"
    )
    sampler: str | None = Field(
        None,
        description="train on batches that it draws: neighbour, labor, ladies, fastgcn, cluster, shadow, "
        "saint-node, saint-edge, saint-walk, pinsage, or a plug-in's",
    )
    batch: int | None = Field(None, ge=1, description="seeds of a batch, over all ranks (default: 1024)")
    fanouts: tuple[int, ...] | None = Field(
        None,
        description="neighbours of a node, an aggregation each, that which reads the features first; -1: all "
        "(default: 10 each)",
    )
    budget: int | None = Field(
        None,
        ge=1,
        description="of each rank: nodes a layer (fastgcn, ladies), nodes, edges or roots of a subgraph "
        "(saint-*) (default: 1024)",
    )
    walk: int | None = Field(None, ge=1, description="steps of a walk (default: 2)")
    walks: int | None = Field(None, ge=1, description="of pinsage: walks from a node (default: 10)")
    restart: float | None = Field(
        None, ge=0, lt=1, description="of pinsage: how likely a walk ends after a step (default: 0.5)"
    )
    repeated: bool | None = Field(
        None, description="of neighbour: draw with repetition (default: no neighbour twice)"
    )
    clusters: int | None = Field(
        None, ge=1, description="of cluster: how many, over all ranks (default: one for about 150 nodes)"
    )
    locality: Score | None = Field(
        None,
        description="prefer nodes whose neighbours' ids lie close together: by GNNSampler's published score, "
        "by compact (ids of a span that are there), or random, as a control (default: none is preferred)",
    )
    locality_threshold: float | None = Field(
        None, description="scores above it are local; of random, the share of nodes (default: 0.775)"
    )
    locality_degree: int | None = Field(
        None, ge=0, description="neighbours that a local node has at least (default: 4)"
    )
    locality_floor: float | None = Field(
        None, ge=0, le=1, description="how readily others are drawn; 0: never, which is biased (default: 0)"
    )
    runs: int | None = Field(
        None, ge=1, description="seeds of neighbouring ids that stay in one batch (default: 1)"
    )
    prefetch: int | None = Field(
        None, ge=0, description="batches drawn ahead, beside training; 0: none (default: 2)"
    )
    layers: int = Field(2, ge=1, description="layers, linear ones included")
    hidden: int = Field(64, ge=1, description="width between layers")
    linear_layers: int = Field(0, ge=0, description="how many of the last layers are plain linear")
    dropout: float = Field(0.5, ge=0, lt=1, description="before every layer")
    norm: NormName = Field(
        "auto",
        description="after every layer but the last: none, layer, or batch over all nodes; auto: batch in "
        "resgcn, else none",
    )
    residual: bool = Field(False, description="add a hidden layer's input to its output")
    gcn_norm: GCNNorm = Field("symmetric", description="symmetric (PyG) or out-in (DGL, directed graphs)")
    activation: Activation = Field("auto", description="between layers; auto: elu for attention, else relu")
    heads: int = Field(8, ge=1, description="of an attention layer; they share the hidden width")
    out_heads: int = Field(1, ge=1, description="of the last attention layer; they are averaged")
    attention_dropout: float | None = Field(
        None, ge=0, lt=1, description="of attention weights (default: as dropout)"
    )
    aggregation: Aggregation = Field("softmax", description="of resgcn: softmax or mean")
    temperature: float = Field(0.1, description="of that softmax: 0 gives the mean, much gives the maximum")
    alpha: float = Field(
        0.1, gt=0, le=1, description="share of the first rows in each layer of gcnii and hop of appnp"
    )
    theta: float = Field(0.5, gt=0, description="of gcnii: how fast layers come close to the identity")
    hops: int = Field(10, ge=1, description="of appnp and sgc")
    bases: int | None = Field(
        None, ge=1, description="of rgcn: matrices that kinds of edges share (default: one for each kind)"
    )
    train_eps: bool = Field(False, description="let GIN learn its epsilon")
    exchange_side: ExchangeSide = Field("narrower", description="send a layer's narrower side, or its input")
    first_hop: FirstHopChoice = Field("auto", description="aggregate constant inputs once; auto: if dense")
    recompute: bool = Field(
        False,
        description="keep only the inputs of hidden layers: less memory, each computed (and sent) twice",
    )
    prune: PruneChoice = Field(
        "auto", description="leave out rows that no scored node sees; exact; auto: where a quarter is saved"
    )
    task: Literal["auto", "links"] = Field(
        "auto",
        description="links: hold out a share of them and predict it; auto: what nodes are labelled with",
    )
    negatives: int = Field(1, ge=1, description="of links: wrong answers to each")
    negative_pool: int = Field(1024, ge=2, description="of links: nodes that an epoch draws those from")
    epochs: int = Field(200, ge=1, description="steps on the whole graph")
    lr: float = Field(0.01, gt=0, description="learning rate of Adam")
    lr_schedule: Literal["constant", "cosine"] = Field("constant", description="of the learning rate")
    warmup: int = Field(0, ge=0, description="epochs of linear warm-up before that")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty added to the gradient")
    decay_on: Literal["all", "first"] = Field("all", description="which layers decay (published GCN: first)")
    patience: int = Field(
        0, ge=0, description="stop after this many epochs without a better validation; 0: never"
    )
    eval_every: int = Field(1, ge=1, description="epochs between evaluations")
    inductive: bool = Field(False, description="train on the subgraph of training nodes only")
    directed: bool = Field(False, description="keep edges as stored instead of adding the reverse ones")
    normalize: Normalization = Field(
        "auto", description="features: none, row, standard, or the published default"
    )
    split: tuple[float, float, float] | None = Field(
        None,
        description="train, val, test shares if none stored (default: 0.6,0.2,0.2), or of links (default: "
        "0.85,0.05,0.1)",
    )
    split_seed: int = Field(0, ge=0, lt=2**63, description="of that split")
    partition_method: str = Field("metis", description="metis, random, range, stream or file:PATH")
    objective: Objective = Field("volume", description="what METIS minimizes")
    balance: Balance | None = Field(None, description="nodes, train or edges (default: train if inductive)")
    order: Order = Field("auto", description="of each part's nodes, for speed only; auto: by size")
    partition_seed: int = Field(0, ge=0, lt=2**63, description="of the partition method and order")
    seed: int = Field(0, ge=0, lt=2**63, description="of initial weights and dropout")
    dtype: Literal["float32", "float64"] = Field("float32", description="of features and weights")
    precision: Literal["full", "bf16"] = Field(
        "full",
        description="bf16: rows are stored, multiplied and sent in 16 bits; sums, weights and the optimizer "
        "stay in 32",
    )
    device: Device = Field("auto", description="auto takes a GPU where there is one")
    threads: int | None = Field(
        None, ge=1, description="of each rank (default: this machine's cores shared out)"
    )
    profile: bool = Field(
        False, description="trace three epochs, for Perfetto: trace-RANK.json in the run's folder"
    )
    timeout: float = Field(
        300.0, gt=0, description="seconds after which a silent rank counts as gone, once an epoch is done"
    )
    startup_timeout: float = Field(1800.0, gt=0, description="the same before that")
    checkpoint_every: int = Field(0, ge=0, description="epochs between checkpoints; 0: by time alone")
    checkpoint_minutes: float = Field(
        10.0, ge=0, description="minutes between checkpoints; 0: by epochs alone, or none if that is 0, too"
    )
    keep_checkpoints: int = Field(2, ge=1, description="how many of the last checkpoints stay")

    @model_validator(mode="before")
    @classmethod
    def _methods_mean_choices(cls, values: dict[str, Any]) -> dict[str, Any]:
        return drawing.resolved(resolved(values))

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name in (self.data, self.partition_method):
            if name.encode(errors="ignore").decode() != name:
                raise InputError(f"{name!r} is not UTF-8, as a run file must be: rename the file")
        models.get(self.model)
        self.choices()
        if self.precision == "bf16" and self.dtype != "float32":
            raise InputError(
                f"precision = bf16 goes with dtype = float32, not {self.dtype}: drop one of the two"
            )
        if self.task == "links" and self.inductive:
            raise InputError("inductive = true is not known for task = links: drop one of the two")
        self._sampler_fits()
        methods.get(self.partition_method.partition(":")[0])
        self.model_settings()
        self.data_split()
        return self

    def _sampler_fits(self) -> None:
        if self.sampler is None:
            return
        samplers.get(self.sampler)
        if self.method != "vanilla" or self.schedule != "sync":
            raise InputError(
                f"method = {self.method}, schedule = {self.schedule} say how a whole graph's rows cross, but "
                f"sampler = {self.sampler} draws batches instead: drop one of the two"
            )
        if self.task == "links":
            raise InputError(f"sampler = {self.sampler} is not known for task = links: drop one of the two")

    def model_settings(self, edge_kinds: int = 1) -> ModelSettings:
        """The model's share of the configuration, for a graph with so many kinds of edges."""
        return ModelSettings(
            name=self.model, layers=self.layers, hidden=self.hidden, linear_layers=self.linear_layers,
            dropout=self.dropout, norm=self.norm, residual=self.residual, gcn_norm=self.gcn_norm,
            train_eps=self.train_eps, exchange_side=self.exchange_side,
            recompute=self.recompute, activation=self.activation, heads=self.heads,
            out_heads=self.out_heads, attention_dropout=self.attention_dropout,
            aggregation=self.aggregation, temperature=self.temperature, alpha=self.alpha, theta=self.theta,
            hops=self.hops, bases=self.bases, edge_kinds=edge_kinds,
        )  # fmt: skip

    @property
    def stored(self) -> torch.dtype:
        """The type of rows between layers."""
        found: torch.dtype = torch.bfloat16 if self.precision == "bf16" else getattr(torch, self.dtype)
        return found

    def choices(self) -> Choices:
        """How boundary rows cross."""
        given = {name: getattr(self, name) for name in EXCHANGE if getattr(self, name) is not None}
        return Choices(**given, seed=self.seed)

    def cutting(self) -> Cutting:
        """How a dataset is cut where ``data`` is not cut yet."""
        return Cutting(
            num_parts=self.parts or 1, method=self.partition_method, objective=self.objective,
            balance=self.balance, inductive=self.inductive, order=self.order, seed=self.partition_seed,
        )  # fmt: skip

    def data_split(self) -> Split:
        """How nodes are split where a dataset brings no masks, or how its links are."""
        of: Literal["nodes", "links"] = "links" if self.task == "links" else "nodes"
        usual = (0.85, 0.05, 0.1) if of == "links" else (0.6, 0.2, 0.2)
        return Split(*(self.split or usual), seed=self.split_seed, of=of)

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> "RunConfig":
        """Build a configuration from keys and values (strings are converted).

        Raises:
            InputError: an unknown key (the nearest is named) or a value that does not fit.
        """
        for key in values:
            if key not in cls.model_fields:
                raise unknown("setting", key, cls.model_fields)
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            cause = first.get("ctx", {}).get("error")
            if isinstance(cause, InputError):
                raise cause from error
            where = ".".join(map(str, first["loc"])) or "the configuration"
            raise InputError(f"{where} = {first['input']!r}: {_lowered(first['msg'])}") from error

    @classmethod
    def read(cls, path: Path) -> dict[str, Any]:
        """The keys and values of a run file, not yet checked.

        Raises:
            InputError: it cannot be read or is not TOML.
        """
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                f"{path}: {error.strerror}; give a run file, a dataset or a partitioning"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a TOML file: {error}") from error

    def toml(self) -> str:
        """This configuration as a run file."""
        lines = []
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            if value is not None:
                text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
                text = text.replace("\x7f", "\\u007f")  # the one that JSON allows and TOML does not
                lines.append(f"{key} = {text}  # {field.description}")
        return "\n".join(lines) + "\n"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]
