"""Where a subcommand's words go."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text


class Output:
    """Results to standard output (unless ``--json`` keeps it for one object), all else to standard error.

    Under torchrun only rank 0 speaks, but for problems that other ranks cannot know of.

    Args:
        json: standard output is reserved.
    """

    def __init__(self, *, json: bool) -> None:
        self.json, self.rank = json, int(os.environ.get("RANK", 0))
        self.err = Console(stderr=True, quiet=self.rank != 0, highlight=False, markup=False)
        self.out = Console(quiet=json or self.rank != 0, highlight=False, markup=False)
        if not self.out.is_terminal:
            self.out.width = max(self.out.width, 120)
        self.status: Status | None = None
        self._listen()

    def _listen(self) -> None:
        """Show what the library logs while it works."""
        logger = logging.getLogger("gcnsys")
        handler = _Teller(self)
        handler.setLevel(logging.INFO if self.rank == 0 else logging.ERROR)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """On a terminal, show that work goes on and what it is at."""
        if not self.err.is_terminal:
            yield
            return
        with self.err.status("working") as self.status:
            yield
        self.status = None

    def say(self, text: str) -> None:
        """A line of the result, for people."""
        self.out.print(text, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line beside the result."""
        self.err.print(text, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
        """A table of the result; columns but the first are aligned to the right."""
        table = Table(
            title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold"
        )
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in rows:
            table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
        self.out.print(table)

    def problem(self, sentence: str, *, everywhere: bool = False) -> None:
        """What went wrong, as one sentence; said once where every rank knows it."""
        if self.rank == 0 or not everywhere:
            who = f"gcnsys: rank {self.rank}: " if self.rank and not everywhere else "gcnsys: "
            print(who + " ".join(sentence.split()), file=sys.stderr, flush=True)


class _Teller(logging.Handler):
    """Passes on what the library logs: as a line, and as what a terminal's spinner says."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self.output = output

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self.output.note(message)
        if self.output.status is not None:
            self.output.status.update(Text(message))
