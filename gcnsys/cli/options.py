"""Options from the fields of a run's configuration."""

import argparse
import types
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from gcnsys.train import RunConfig
from gcnsys.train.trained import Which


def add_fields(group: argparse._ArgumentGroup, names: Iterable[str], **renamed: str) -> None:
    """Add an option for each named field; unset ones stay out of the result.

    Args:
        group: where to.
        names: fields of :class:`gcnsys.train.RunConfig`.
        renamed: flags that differ from their field, as ``field="flag"``.
    """
    for name in names:
        field = RunConfig.model_fields[name]
        flag = "--" + renamed.get(name, name).replace("_", "-")
        kind = _plain_type(field)
        help_text = (field.description or "").replace("%", "%%")
        if field.default not in (None, ...) and "default" not in help_text:
            shown = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
            help_text += f" (default: {shown})"
        options: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": help_text}
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **options)
        elif get_origin(kind) is tuple:
            number = get_args(kind)[0]
            group.add_argument(flag, type=partial(_numbers, number), metavar="A,B,C", **options)
        else:
            choices = list(get_args(kind)) if get_origin(kind) is Literal else None
            metavar = "{" + ",".join(choices) + "}" if choices else name.upper().split("_")[-1]
            group.add_argument(flag, metavar=metavar, **options)


def add_trained(parser: argparse.ArgumentParser) -> None:
    """Add what names a trained model: a run's folder, and which of its weights."""
    parser.add_argument("trained", metavar="RUN", type=Path, help="the folder of a finished run")
    parser.add_argument(
        "--weights", choices=get_args(Which), default="best",
        help="of the epoch that validation liked best, or of the last one (default: best)",
    )  # fmt: skip


def chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given on the command line."""
    return {name: value for name, value in vars(options).items() if name in RunConfig.model_fields}


def _plain_type(field: FieldInfo) -> Any:
    kind = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(entry for entry in get_args(kind) if entry is not type(None))
    return kind


def _numbers(number: type[float], text: str) -> tuple[float, ...]:
    try:
        return tuple(number(piece) for piece in text.replace("/", ",").split(","))
    except ValueError:
        example = "15,10,5" if number is int else "0.6,0.2,0.2"
        raise argparse.ArgumentTypeError(f"needs numbers such as {example}, got {text!r}") from None
