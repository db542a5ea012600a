"""What an accelerator that reads a graph by islands is told about them."""

from dataclasses import dataclass

from gcnsys.errors import InputError


@dataclass(frozen=True, slots=True)
class IslandTasks:
    """The islands of a graph, and the operations that shared sums leave.

    Attributes:
        islands: how many there are.
        hubs: nodes between them.
        scanned: entries of the matrix that the search for them reads.
        operations: accumulations of rows that aggregation takes with shared sums, those of the sums included.
        entries: accumulations without.
    """

    islands: int
    hubs: int
    scanned: int
    operations: int
    entries: int

    def __post_init__(self) -> None:
        if min(self.islands, self.hubs, self.scanned, self.operations) < 0 or self.entries < 1:
            raise InputError(f"counts of islands must not be negative, got {self}")

    @property
    def kept(self) -> float:
        """The share of operations that is left."""
        return self.operations / self.entries
