"""What ranks that a launcher started again find of the attempts before them."""

import json
from dataclasses import asdict, dataclass

from gcnsys.runtime import Comm


@dataclass(frozen=True, slots=True)
class Attempt:
    """How far the attempts of a launch have come.

    Attributes:
        run: the run's folder; empty: none got so far.
        state: ``begun`` where the folder is the run's own by now, ``finished`` where all is in it.
        stopped: the signal that asked the run to stop; it stays stopped. 0: none did.
    """

    run: str = ""
    state: str = ""
    stopped: int = 0

    @classmethod
    def before(cls, comm: Comm) -> "Attempt":
        """What was left by earlier ones, the same on every rank; collective."""
        kept = comm.recall("attempt") if comm.rank == 0 else None
        return cls(**json.loads(comm.texts(kept or json.dumps(asdict(cls())))[0]))

    def leave(self, comm: Comm) -> None:
        """Leave this for later ones; on rank 0."""
        comm.remember("attempt", json.dumps(asdict(self)))
