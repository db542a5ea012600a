"""What accelerators, and graphs by their counts, are read from: tables of numbers, checked at the door."""

import tomllib
from pathlib import Path
from typing import Any, Self, get_args

import pydantic
from pydantic import BaseModel, ConfigDict

from gcnsys.errors import InputError
from gcnsys.registry import unknown


class Settings(BaseModel):
    """A table: nothing unknown, nothing missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def checked(cls, values: dict[str, Any], origin: str) -> Self:
        """From names and values.

        Args:
            values: a table, tables in it as well.
            origin: what it is of, for people.

        Raises:
            InputError: one sentence that names the field; of an unknown one, the nearest that is known.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise InputError(f"{origin}: {_problem(cls, error)}") from error

    @classmethod
    def read(cls, path: Path, what: str) -> Self:
        """From a TOML file.

        Args:
            path: of the file.
            what: it should be, for people.

        Raises:
            InputError: it is no such file; the sentence names the field.
        """
        try:
            values = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise InputError(f"{path}: cannot be read ({reason}); name a file of {what}") from error
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path}: not TOML ({error})") from error
        return cls.checked(values, str(path))


def _problem(model: type[BaseModel], error: pydantic.ValidationError) -> str:
    """The first of the problems; unknown names before missing ones, which they often stand for."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    at, table = list[str](), model
    for part in first["loc"][:-1]:
        table, is_name = _inside(table, str(part))
        at += [str(part)] * is_name
    name = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return str(unknown(f"field of {'.'.join(at)}" if at else "field", name, table.model_fields))
    if first["type"] == "missing":
        return f"{'.'.join([*at, name])}: is missing"
    if first["type"].startswith("union_tag"):
        kinds = _kinds(table)
        if first["type"] == "union_tag_not_found":
            return f"{'.'.join([*at, name])}.kind: is missing; known: {', '.join(sorted(kinds))}"
        return str(unknown(f"kind of {name}", str(first["ctx"]["tag"]), kinds))
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = f", got {first['input']!r}" if isinstance(first["input"], int | float | str) else ""
    return f"{'.'.join([*at, name])}: {message}{given}" if name else f"{message}{given}"


def _kinds(table: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Tables that a field may hold one of, by their kinds."""
    return {
        kind: other
        for field in table.model_fields.values() for other in get_args(field.annotation)
        if isinstance(other, type) and issubclass(other, BaseModel) and "kind" in other.model_fields
        for kind in get_args(other.model_fields["kind"].annotation)
    }  # fmt: skip


def _inside(table: type[BaseModel], part: str) -> tuple[type[BaseModel], bool]:
    """The table that a part of a place leads to, and whether it is a name, not the kind of table meant."""
    kinds = _kinds(table)
    if part in kinds:
        return kinds[part], False
    field = table.model_fields.get(part)
    inner = None if field is None else field.annotation
    return (inner if isinstance(inner, type) and issubclass(inner, BaseModel) else table), True
