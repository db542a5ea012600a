"""Names to things: built-ins by decorator, plug-ins by entry point.

A plug-in is imported only when its name is asked for, so a broken one never breaks a run that
does not use it.
"""

import difflib
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Generic, TypeVar

from gcnsys.errors import GcnsysError, InputError, MissingPackageError, UnknownNameError

T = TypeVar("T")


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name nobody knows, with the nearest one that somebody does."""
    known = sorted(known)
    spelled = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.4)
    hint = f"did you mean {spelled[near[0]]!r}? Known: " if near else "known: "
    return UnknownNameError(f"unknown {kind} {name!r}; {hint}{', '.join(known)}")


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional package late.

    Raises:
        MissingPackageError: it is not installed, or it does not import.
    """
    try:
        return import_module(module)
    except Exception as error:
        raise MissingPackageError(
            f"{purpose} needs the package {module.split('.')[0]!r}, which does not import "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}); "
            f"install it with: pip install 'gcnsys[{extra}]'"
        ) from error


class Registry(Generic[T]):
    """One kind of named thing, such as models or datasets.

    Args:
        kind: what it is called in messages.
        group: the entry-point group third parties publish under, if they may.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind, self.group = kind, group
        self._builtin: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a built-in; a name is taken once."""

        def add(thing: T) -> T:
            if name in self._builtin:
                raise GcnsysError(f"{self.kind} {name!r} is already registered")
            self._builtin[name] = thing
            return thing

        return add

    def __contains__(self, name: str) -> bool:
        return name in self._builtin or name in self._plugins()

    def names(self) -> list[str]:
        """Every known name, without importing any plug-in."""
        return sorted({*self._builtin, *self._plugins()})

    def get(self, name: str) -> T:
        """Look a name up.

        Raises:
            UnknownNameError: no such name; the message names the nearest one.
            InputError: it is a plug-in's, which does not load.
        """
        if name in self._builtin:
            return self._builtin[name]
        plugins = self._plugins()
        if name not in plugins:
            raise unknown(self.kind, name, self.names())
        try:
            thing: T = plugins[name].load()
        except Exception as error:
            raise InputError(
                f"the plug-in {plugins[name].value!r}, which provides {self.kind} {name!r}, does not load "
                f"({type(error).__name__}: {error}); mend or uninstall it"
            ) from error
        return thing

    def _plugins(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)} if self.group else {}
