"""Links as what is learnt: a loss and scores of :mod:`gcnsys.train.links`."""

from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F

from gcnsys.errors import InputError
from gcnsys.kernels.edges import edge_dot
from gcnsys.train.links import Links, pool_of, ranked, wrong_answers, wrong_edges
from gcnsys.train.task import Score, Task
from gcnsys.train.view import View


@dataclass(eq=False)
class LinkPrediction(Task):
    """Which nodes are linked; see :mod:`gcnsys.train.links`.

    Attributes:
        num_nodes: of the whole graph.
        seed: of draws.
        negatives: wrong answers to a link.
        pool: nodes that they are drawn from.
    """

    num_nodes: int = field(kw_only=True)
    seed: int = field(default=0, kw_only=True)
    negatives: int = field(default=1, kw_only=True)
    pool: int = field(default=1024, kw_only=True)

    def size(self, view: View) -> int:
        return known_links(view).known.edges.csr.num_edges

    def training_loss(self, outputs: Tensor, view: View, epoch: int) -> Tensor:
        """Over links -log s(z), over wrong answers -log s(-z); z are scores, s the logistic function."""
        links = known_links(view)
        asked = links.known
        reached = asked.block.gather(outputs)
        right = edge_dot(asked.edges, outputs, reached, 1)
        pool = self._pool(epoch + 1, outputs)
        drawn = wrong_answers(asked, self.negatives, pool.numel(), seed=self.seed, epoch=epoch)
        edges = wrong_edges(asked, drawn, links.right(pool))
        wrong = edge_dot(edges, outputs, links.rows_of(pool, outputs), 1)
        return F.softplus(-right).sum() + F.softplus(wrong).sum()

    def tallies(self, outputs: Tensor, view: View) -> dict[str, Tensor]:
        links, pool = known_links(view), self._pool(0, outputs)
        rows, right = links.rows_of(pool, outputs), links.ever_right(pool)
        reached = {asked.block: asked.block.gather(outputs) for asked in (links.known, links.held_out)}
        return {
            name: ranked(asked, reached[asked.block], outputs, rows, right, self.negatives)
            for name, asked in links.scored.items()
        }

    def score(self, counts: Tensor) -> Score:
        """``accuracy`` is the share of wrong answers that score less than the right one (area under ROC)."""
        below, reciprocal, hits, links, loss = counts.tolist()
        if links == 0:
            return Score(float("nan"), float("nan"), {"mrr": float("nan"), "hits10": float("nan")})
        return Score(below / links, loss / links, {"mrr": reciprocal / links, "hits10": hits / links})

    def _pool(self, epoch: int, outputs: Tensor) -> Tensor:
        return pool_of(self.num_nodes, self.pool, seed=self.seed, epoch=epoch, device=outputs.device)


def known_links(view: View) -> Links:
    """A view's links.

    Raises:
        InputError: the partitioning was not cut for links.
    """
    if view.links is None:
        raise InputError(
            "the partitioning holds no links to predict; build one with: gcnsys partition build --task links"
        )
    return view.links
