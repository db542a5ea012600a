"""Where a check works: its claim's record and tolerances, the real graphs, a folder of its own."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.claim import Claim
from experiments.figures import Figure, left_out
from experiments.machine import machine
from experiments.needs import missing
from experiments.runfile import data_folder
from gcnsys.errors import GcnsysError


class AbsentError(GcnsysError):
    """What a comparison needs is not there."""


@dataclass(frozen=True)
class Bench:
    """What ``check(at)`` of an experiment's ``check.py`` gets.

    Attributes:
        claim: whose check it is.
        work: a folder that goes afterwards.
    """

    claim: Claim
    work: Path

    def within(self, name: str) -> float:
        """A tolerance of the declaration."""
        return self.claim.tolerance[name]

    def data(self, name: str) -> Path:
        """A file of the data folder."""
        return data_folder() / name

    def spec(self, name: str) -> str:
        """The SPEC of an archive of the data folder."""
        return f"npz:{self.data(name)}.npz"

    def missing(self, *needs: str) -> str | None:
        """Why something cannot be compared here, or None."""
        return missing(needs)

    def need(self, *needs: str) -> None:
        """See that everything is there, as :func:`experiments.needs.missing` names it.

        Raises:
            AbsentError: something is not.
        """
        why = missing(needs)
        if why is not None:
            raise AbsentError(why)

    def parts(self, *checks: "Callable[[Bench], Iterator[Figure]]") -> Iterator[Figure]:
        """Figures of several checks, one after the other; what one lacks is left out."""
        for check in checks:
            try:
                yield from check(self)
            except AbsentError as error:
                yield left_out(check.__name__.replace("_", " "), str(error))

    def record(self, name: str) -> dict[str, Any]:
        """A file of the record.

        Raises:
            AbsentError: it is not there.
        """
        found: dict[str, Any] = json.loads(self._path(name).read_text())
        return found

    def records(self, pattern: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Files of the record by their names without ending.

        Raises:
            AbsentError: there are none.
        """
        paths = sorted(self.claim.folder.glob(pattern))
        if not paths:
            raise self._absent(pattern)
        for path in paths:
            yield path.stem, json.loads(path.read_text())

    def lines(self, name: str) -> list[dict[str, Any]]:
        """A file of the record that has an object a line.

        Raises:
            AbsentError: it is not there.
        """
        return [json.loads(line) for line in self._path(name).read_text().splitlines() if line.strip()]

    def other_processor(self, record: dict[str, Any]) -> str | None:
        """Why times on record say little of this machine, or None if it has the same processor."""
        there, here = record["machine"]["processor"], machine()["processor"]
        return None if there == here else f"recorded on another processor: {there}, not {here}"

    def same_processor(self, record: dict[str, Any]) -> None:
        """See that times on record are of a processor like this one.

        Raises:
            AbsentError: they are not.
        """
        why = self.other_processor(record)
        if why is not None:
            raise AbsentError(why)

    def _path(self, name: str) -> Path:
        path = self.claim.folder / name
        if not path.is_file():
            raise self._absent(name)
        return path

    def _absent(self, name: str) -> AbsentError:
        return AbsentError(
            f"no record {self.claim.name}/{name}; python -m experiments run {self.claim.name} makes it"
        )
