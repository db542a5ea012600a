"""A found design as files: the accelerator, a run that trains its model, and the graph that both see."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gcnsys.accel import Accelerator
from gcnsys.files import write, write_json
from gcnsys.search.problem import Problem
from gcnsys.search.space import Design
from gcnsys.train import RunConfig

ACCELERATOR, RUN, GRAPH, BLOCKS, DESIGN = (
    "accelerator.toml",
    "run.toml",
    "graph.npz",
    "blocks.npz",
    "design.json",
)


def export(design: Design, problem: Problem, folder: Path) -> None:
    """Write a design to a folder that is there.

    The run trains the model on the pruned graph at full precision; bits are the accelerator's.
    """
    shape = design.shape
    write(folder / ACCELERATOR, as_toml(design.hardware.accelerator(problem.budget, shape.bits)).encode())
    pruned = problem.graphs[shape.pruned]
    _write_arrays(folder / GRAPH, replace(problem.dataset, graph=pruned).to_arrays())
    blocks = problem.blocks
    _write_arrays(folder / BLOCKS, {
        "order": blocks.layout.order.numpy(), "group_ptr": blocks.layout.group_ptr.numpy(),
        "class_of": blocks.class_of.numpy(), "group_of": blocks.group_of.numpy(),
    })  # fmt: skip
    run = RunConfig.checked({
        "data": f"npz:{folder / GRAPH}", "model": shape.kind, "layers": shape.layers, "hidden": shape.hidden,
        "normalize": "none", "weight_decay": 5e-4,
    })  # fmt: skip
    keys = ("data", "model", "layers", "hidden", "normalize", "weight_decay")
    write(folder / RUN, "".join(f"{key} = {json.dumps(getattr(run, key))}\n" for key in keys).encode())
    write_json(folder / DESIGN, design.plain())


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    content = io.BytesIO()
    np.savez(content, **dict(arrays))  # type: ignore[arg-type]
    write(path, content.getvalue())


def as_toml(accelerator: Accelerator) -> str:
    """An accelerator file."""
    values = accelerator.model_dump(exclude_unset=True)
    lines = [f"{key} = {json.dumps(values[key])}" for key in ("name", "summary", "scale") if key in values]
    for table in ("chip", "mechanism", "fit", "sources"):
        if values.get(table):
            lines += ["", f"[{table}]"]
            lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values[table].items()]
    return "\n".join(lines) + "\n"
