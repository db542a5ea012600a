"""What a folder of experiments claims, what its check takes and needs, and the commands behind its record.

A folder declares itself in ``claim.toml``; the claim in full is the paragraphs of its ``README.md`` that
start with ``**Claim``.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gcnsys.errors import InputError
from gcnsys.registry import unknown

HOME = Path(__file__).resolve().parent
DECLARATION = "claim.toml"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Table):
    """The reduced version of an experiment that is compared with its record.

    Attributes:
        what: is repeated, and how it is reduced.
        seconds: that it takes, about, on two cores with nothing else to do.
        needs: what it cannot do without, see :func:`experiments.needs.missing`.
        uses: what it compares less without.
    """

    what: str
    seconds: int
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


class Step(_Table):
    """A command behind a record.

    Attributes:
        name: to ask for it alone.
        command: a module and its arguments; ``{data}`` stands for the folder of real graphs, ``{here}`` for
            the experiment's, ``{out}`` for one whose files replace the record once the command is done.
        then: further commands that write to the same files.
        threads: that libraries compute with; runners that compare numbers of threads set their own.
        needs: as of a check.
    """

    name: str
    command: tuple[str, ...]
    then: tuple[tuple[str, ...], ...] = ()
    threads: int = 1
    needs: tuple[str, ...] = ()


class Claim(_Table):
    """An experiment.

    Attributes:
        name: its folder's.
        claim: in a line, as in ``experiments/README.md``.
        source: whose claim it is: authors, venue and year, or ``ours``.
        records: files, or patterns of them, that hold what was measured.
        check: the reduced version.
        tolerance: how far its figures may be from the record, by name; ``check.py`` says what each is of.
        run: the commands behind the record.
    """

    name: str
    claim: str
    source: str
    records: tuple[str, ...] = ()
    check: Check
    tolerance: dict[str, float] = {}
    run: tuple[Step, ...]

    @property
    def folder(self) -> Path:
        return HOME / self.name

    def text(self) -> str:
        """The claim in full, out of the folder's README."""
        paragraphs = (self.folder / "README.md").read_text().split("\n\n")
        return "\n\n".join(" ".join(each.split()) for each in paragraphs if each.startswith("**Claim"))

    def recorded(self) -> list[Path]:
        """The files of the record that are there."""
        return sorted({path for pattern in self.records for path in self.folder.glob(pattern)})

    def step(self, name: str) -> Step:
        """The command of a name.

        Raises:
            UnknownNameError: there is none.
        """
        for step in self.run:
            if step.name == name:
                return step
        raise unknown(f"command of {self.name}", name, [step.name for step in self.run])


def read(folder: Path) -> Claim:
    """The declaration of a folder.

    Raises:
        InputError: it says something that is no claim.
    """
    path = folder / DECLARATION
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
        return Claim.model_validate(values | {"name": folder.name})
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where}: {first['msg']}") from error


def every() -> list[Claim]:
    """All experiments, by name."""
    return [read(path.parent) for path in sorted(HOME.glob(f"*/{DECLARATION}"))]


def named(names: Sequence[str]) -> list[Claim]:
    """The experiments of these names, or all of them if there are none.

    Raises:
        UnknownNameError: there is no experiment of a name.
    """
    known = {claim.name: claim for claim in every()}
    for name in names:
        if name not in known:
            raise unknown("experiment", name, known)
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())
