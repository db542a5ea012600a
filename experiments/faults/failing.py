"""``gcnsys`` with user code that fails: ``failing.py model|sampler RANK EPOCH ARGUMENTS``."""

import os
import sys

from gcnsys.cli.main import main
from gcnsys.nn import GNN
from gcnsys.runtime.rows import SAMPLERS, Boundary, Draw, Occasion, Uniform

where, rank, epoch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
here = int(os.environ["RANK"]) == rank
calls = 0


class Failing(Uniform):
    """Draws, until it fails."""

    def draw(self, boundary: Boundary, occasion: Occasion) -> Draw:
        if here and occasion.epoch == epoch:
            raise ValueError("an error of the user's own")
        return super().draw(boundary, occasion)


SAMPLERS.register("failing")(Failing)
if where == "model" and here:
    forward = GNN.forward

    def failing(self, blocks, x):  # type: ignore[no-untyped-def]
        """A model's forward, until it fails."""
        global calls
        calls += self.training
        if calls > epoch:
            raise ValueError("an error of the user's own")
        return forward(self, blocks, x)

    GNN.forward = failing  # type: ignore[method-assign]
main(sys.argv[4:])
