"""``gcnsys export``: a trained model as plain layers of PyG or DGL."""

import argparse
from pathlib import Path
from typing import Any, get_args

from gcnsys.cli.options import add_trained
from gcnsys.cli.output import Output
from gcnsys.files import new_folder, save_arrays, write
from gcnsys.nn.export import Library, exported
from gcnsys.train.trained import TrainedRun

MODULE, WEIGHTS = "model.py", "weights.safetensors"


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "export", help="write a trained model as plain PyG or DGL",
        epilog="example: gcnsys export runs/mine --to pyg --out exported",
    )  # fmt: skip
    add_trained(parser)
    parser.add_argument("--to", choices=get_args(Library), default="pyg", help="(default: pyg)")
    parser.add_argument(
        "--out", type=Path, default=Path("exported"),
        help=f"a folder for {MODULE}, which needs no gcnsys, and {WEIGHTS} (default: exported)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if there is one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    run = TrainedRun.open(options.trained, options.weights)
    made = exported(run.model(), options.to)
    with new_folder(options.out, holding=MODULE, overwrite=options.overwrite) as folder:
        write(folder / MODULE, made.source.encode())
        save_arrays(folder / WEIGHTS, made.state)
    output.say(f"{options.out / MODULE} defines the model and loads {WEIGHTS} beside it:")
    output.say(f"  cd {options.out} && python -c 'import model; print(model.load())'")
    return {"out": str(options.out), "to": options.to, "run": str(run.folder), "arrays": sorted(made.state)}
