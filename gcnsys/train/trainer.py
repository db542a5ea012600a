"""Full-graph training, one rank's view.

One epoch is one step on the whole graph: every rank runs the model over its part, the loss is
summed locally and divided by the global number of training nodes, and one flat all-reduce after
backward adds the gradients (and the loss) up. Hooks that reduce inside backward can finish before
autograd has stored a gradient; a flat reduce on the main thread has no such race.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gcnsys.errors import known_to_all
from gcnsys.kernels.backend import summed
from gcnsys.nn import set_dropout_epoch
from gcnsys.runtime import Comm
from gcnsys.runtime.labels import labelled
from gcnsys.train.diagnosis import blamed
from gcnsys.train.task import Score, Task
from gcnsys.train.view import View
from gcnsys.train.votes import Votes

_WORDS = 1 << 16
"""Of weights, that are looked at at a time."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch did. ``loss`` is the same on every rank; times and bytes are this rank's.

    Attributes:
        number: from 0.
        loss: mean over all that is trained on, before the step.
        seconds: of the step: ``compute_seconds + comm_seconds + reduce_seconds``.
        comm_seconds: waiting for halo rows and their gradients.
        reduce_seconds: adding gradients up.
        halo_bytes, reduce_bytes: sent.
        buffer_bytes: of all buffers the exchanges of this epoch filled.
        sampled: what a sampler says of the epoch's batches, added up.
        halo_bytes_to: of ``halo_bytes``, to each rank.
    """

    number: int
    loss: float
    learning_rate: float
    seconds: float
    compute_seconds: float
    comm_seconds: float
    reduce_seconds: float
    halo_bytes: int
    reduce_bytes: int
    buffer_bytes: int
    sampled: Mapping[str, float] = field(default_factory=dict)
    halo_bytes_to: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores over all ranks, and what finding them took this rank."""

    scores: dict[str, Score]
    seconds: float


class Trainer:
    """Trains one model on this rank's part of the graph.

    ``epochs`` is a generator: logging, evaluation and stopping early belong to the caller's loop,
    not to callbacks. All ranks draw the same number of epochs.

    Args:
        model: built alike on every rank; rank 0's weights are shared out.
        training: what to train on.
        evaluation: what to evaluate on.
        task: loss and scores.
        optimizer: over the model's parameters.
        comm: the ranks.
        seed: of dropout masks.
        scheduler: stepped after each epoch.

    Attributes:
        ballot: what this rank tells the others at the end of an epoch.
        votes: what all of them said at the end of the last one.
    """

    def __init__(
        self, model: nn.Module, training: View, evaluation: View, task: Task,
        optimizer: torch.optim.Optimizer, comm: Comm, *, seed: int = 0,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    ) -> None:  # fmt: skip
        self.model, self.training, self.evaluation = model, training, evaluation
        self.task, self.optimizer, self.comm = task, optimizer, comm
        self.seed, self.scheduler = seed, scheduler
        self.ballot: Callable[[], Votes] = Votes
        self.votes = Votes()
        self.sampled: dict[str, float] = {}
        self._share_weights()
        self.num_train = int(comm.add(torch.tensor([task.size(training)]), "control"))

    def epochs(self, count: int, *, first: int = 0) -> Iterator[Epoch]:
        """Train for epochs ``first`` to ``count - 1``, yielding after each.

        Rows that a pipeline has under way stay so between epochs, and another generator goes on with them.
        Whoever stops early calls :meth:`settle` before the ranks part.
        """
        yield from self._epochs(count, first)
        self.settle()

    def settle(self) -> None:
        """Wait for rows that are under way."""
        for exchange in self.training.exchanges:
            exchange.settle()

    def transfer_seconds(self, times: int = 2) -> float:
        """What an epoch's exchanges take this rank with nothing beside them, at best; collective.

        Sends as much as the last epoch did, layer after layer, and waits for each.
        """
        self.settle()
        found = []
        for _ in range(times):
            self.comm.add(torch.zeros(1), "control")  # so that nobody waits for a peer that is late
            began = time.perf_counter()
            for exchange in self.training.exchanges:
                exchange.rehearse()
            self.comm.synchronize()
            found.append(time.perf_counter() - began)
        return min(found)

    def _epochs(self, count: int, first: int) -> Iterator[Epoch]:
        for number in range(first, count):
            self.comm.doing(f"epoch {number}")
            before = self.comm.spent()
            rate = float(self.optimizer.param_groups[0]["lr"])
            began = time.perf_counter()
            self.sampled = {}
            with labelled(f"epoch {number}"):
                loss = self._step(number)
            seconds = time.perf_counter() - began
            spent = self.comm.spent().since(before)
            comm, reduce = spent.seconds["halo"], spent.seconds["reduce"]
            yield Epoch(
                number, loss, rate, seconds, seconds - comm - reduce, comm, reduce,
                spent.sent_bytes["halo"], spent.sent_bytes["reduce"], spent.buffer_bytes, self.sampled,
                tuple(spent.halo_bytes_to[rank] for rank in range(self.comm.size)),
            )  # fmt: skip

    def _step(self, number: int) -> float:
        self.model.train()
        set_dropout_epoch(self.model, seed=self.seed, epoch=number)
        for exchange in self.training.exchanges:
            exchange.begin(number)
        with labelled("forward"):
            logits = self._outputs(self.training)
        loss = self.task.training_loss(logits, self.training, number) / self.num_train
        total = self._descend(loss, number)
        if self.scheduler is not None:
            self.scheduler.step()
        return total

    def _descend(self, loss: Tensor, number: int) -> float:
        """Take a step down this rank's share of a loss; returns the whole of it."""
        self.optimizer.zero_grad()
        with labelled("backward"):
            loss.backward()
        self.comm.caught_up()
        with labelled("add gradients up"):
            total = self._reduce(loss.detach(), number)
        with labelled("optimizer"):
            self.optimizer.step()
        return total

    def _reduce(self, loss: Tensor, number: int) -> float:
        """Add gradients, loss and votes up over ranks, in one message; returns the global loss.

        A weight that the rows of some ranks alone reach has a gradient on all: how many do is told, too.

        Raises:
            GcnsysError: the loss or a gradient is not finite.
        """
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        gradients = [weight.grad for weight in weights]
        filled = [
            torch.zeros_like(weight) if gradient is None else gradient
            for weight, gradient in zip(weights, gradients, strict=True)
        ]
        reached = loss.new_tensor([gradient is not None for gradient in gradients])
        votes = self.ballot().joined(loss)
        flat = self.comm.add(
            torch.cat([*(each.flatten() for each in filled), reached, loss.reshape(1), votes])
        )
        sizes = [weight.numel() for weight in weights]
        *pieces, reached, total, votes = flat.split([*sizes, len(weights), 1, votes.numel()])
        for weight, gradient, piece, ranks in zip(weights, filled, pieces, reached.tolist(), strict=True):
            # What no rank reaches has no gradient: a step would still decay it.
            weight.grad = gradient.copy_(piece.view_as(gradient)) if ranks else None
        if not bool(flat.sum().isfinite()) and not bool(flat.isfinite().all()):
            what = blamed(self.model, self.evaluation, float(total), number, self.comm)
            raise known_to_all(f"{what}; lower the learning rate or scale the features")
        self.votes = Votes.counted(votes)
        return float(total)

    @torch.no_grad()
    def logits(self) -> Tensor:
        """This rank's exact predictions on the evaluation graph, ``[D, C]``.

        Row ``i`` is that of the node ``evaluation.ids[i]``: of all inner nodes, or, where the view is
        pruned, of those under a mask. For all nodes, make the views with ``prune="off"``.
        """
        self.model.eval()
        return self._outputs(self.evaluation)

    def _outputs(self, view: View) -> Tensor:
        return self._scored(self.model(view.blocks, view.inputs))

    def _scored(self, logits: Tensor) -> Tensor:
        """Logits, in the type that losses are summed in."""
        return logits.to(summed(logits.dtype))

    @torch.no_grad()
    def evaluate(self) -> Evaluation:
        """Score the model over all ranks; nobody holds more than its part.

        Raises:
            GcnsysError: the replicas of the model have drifted apart.
        """
        began = time.perf_counter()
        with labelled("evaluation"):
            found = self.task.tallies(self.logits(), self.evaluation)
            counts = self.comm.add(torch.stack(list(found.values())), "control")
            self._check_replicas()
        scores = {name: self.task.score(row) for name, row in zip(found, counts, strict=True)}
        return Evaluation(scores, time.perf_counter() - began)

    def _share_weights(self) -> None:
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            tensor.data.copy_(self.comm.share(tensor.data))

    def _check_replicas(self) -> None:
        mine = _fingerprint(self.model)
        extremes = self.comm.greatest(torch.stack([mine, -mine]))
        if int(extremes[0]) != -int(extremes[1]):
            raise known_to_all(
                "the ranks' copies of the model differ, which must not happen: a rank computes on damaged "
                "memory or with another build; start again from the last run folder"
            )


def _fingerprint(model: nn.Module) -> Tensor:
    """A 62-bit digest of all weights, bit by bit."""
    digest = torch.zeros((), dtype=torch.int64)
    for tensor in model.state_dict().values():
        digest = digest.to(tensor.device) * 1_000_003
        words = tensor.detach().flatten().view(torch.int16)
        for start in range(0, words.numel(), _WORDS):  # as numbers they take twelve times the weights' memory
            piece = words[start : start + _WORDS].long()
            order = torch.arange(2 * start + 1, 2 * (start + piece.numel()), 2, device=piece.device)
            digest = digest + piece.mul_(order).sum()
    return digest >> 1
