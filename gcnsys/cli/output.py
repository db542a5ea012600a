"""Where a subcommand's words go."""

import logging
import os
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


class Output:
    """Results to standard output (unless ``--json`` keeps it for one object), all else to standard error.

    Under torchrun only rank 0 speaks, but for problems that other ranks cannot know of.

    Args:
        json: standard output is reserved.
    """

    def __init__(self, *, json: bool) -> None:
        self.json, self.rank = json, int(os.environ.get("RANK", 0))
        self.err = Console(stderr=True, quiet=self.rank != 0, highlight=False)
        self.out = Console(quiet=json or self.rank != 0, highlight=False)
        if not self.out.is_terminal:
            self.out.width = max(self.out.width, 120)
        self._listen()

    def _listen(self) -> None:
        """Show what the library logs while it works."""
        logger = logging.getLogger("gcnsys")
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        handler.setLevel(logging.INFO if self.rank == 0 else logging.ERROR)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def say(self, text: str) -> None:
        """A line of the result, for people."""
        self.out.print(text, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line beside the result."""
        self.err.print(text, markup=False, soft_wrap=True)

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
