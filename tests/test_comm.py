"""What ranks say to each other, and what they say when one of them fails."""

import math
import threading

import pytest
import torch
from oracle import Recipe
from small import assigned, both_views, model_for, small

from gcnsys.errors import GcnsysError, InputError, PeerError
from gcnsys.nn import ModelSettings, build_model
from gcnsys.partition import cut_dataset
from gcnsys.runtime import Comm
from gcnsys.testing.ranks import run_ranks
from gcnsys.train import Task, Trainer


def test_uneven_and_empty_messages_land_where_they_belong():
    counts = torch.tensor([[0, 2, 0], [1, 0, 3], [0, 0, 0]])  # [sender, receiver]

    def body(comm: Comm):
        sent = [torch.full((int(n), 2), 10.0 * comm.rank + to) for to, n in enumerate(counts[comm.rank])]
        flight = comm.swap(torch.cat(sent), counts[comm.rank].tolist(), counts[:, comm.rank].tolist())
        return flight.land()

    landed = run_ranks(3, body)
    assert landed[0].tolist() == [[10, 10]]
    assert landed[1].tolist() == [[1, 1], [1, 1]]
    assert landed[2].tolist() == [[12, 12]] * 3


def test_a_swap_in_which_nobody_sends_anything_lands():
    landed = run_ranks(3, lambda comm: comm.swap(torch.empty(0, 4), [0] * 3, [0] * 3).land())
    assert [list(rows.shape) for rows in landed] == [[0, 4]] * 3


def test_several_swaps_in_flight_land_each_with_its_own_rows():
    def body(comm: Comm):
        flights = [comm.swap(torch.full((2, 1), float(number)), [1, 1], [1, 1]) for number in range(5)]
        return [flight.land().tolist() for flight in reversed(flights)]

    assert run_ranks(2, body) == [[[[n], [n]] for n in (4.0, 3.0, 2.0, 1.0, 0.0)]] * 2


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_add_sums_greatest_compares_and_neither_touches_its_input(num_ranks):
    def body(comm: Comm):
        mine = torch.tensor([comm.rank, -comm.rank, 5])
        found = comm.add(mine).tolist(), comm.greatest(mine).tolist(), comm.share(mine).tolist()
        assert mine.tolist() == [comm.rank, -comm.rank, 5]
        return found

    ranks = range(num_ranks)
    expected = [sum(ranks), -sum(ranks), 5 * num_ranks], [num_ranks - 1, 0, 5], [0, 0, 5]
    assert run_ranks(num_ranks, body) == [expected] * num_ranks


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_traffic_counts_payload_by_kind(num_ranks):
    def body(comm: Comm):
        comm.add(torch.zeros(100, dtype=torch.float64))
        comm.greatest(torch.zeros(8))
        comm.swap(torch.zeros(num_ranks * 3, 5), [3] * num_ranks, [3] * num_ranks).land()
        assert all(seconds >= 0 for seconds in comm.traffic.seconds.values())
        return dict(comm.traffic.sent_bytes)

    share = 2 * (num_ranks - 1) / num_ranks  # what a ring sends
    for sent in run_ranks(num_ranks, body):
        assert sent.get("reduce", 0) == share * 800
        assert sent.get("control", 0) == share * 32
        assert sent["halo"] == num_ranks * 3 * 5 * 4


def test_texts_of_any_length_and_alphabet_reach_every_rank():
    texts = ["", "Größe ✓", "x" * 1000]
    assert run_ranks(3, lambda comm: comm.texts(texts[comm.rank])) == [texts] * 3
    assert run_ranks(2, lambda comm: comm.texts("")) == [["", ""]] * 2


def test_ranks_that_were_started_alike_agree_and_others_are_named():
    def body(comm: Comm):
        comm.same("seed", "7")
        with pytest.raises(InputError) as caught:
            comm.same("configuration", "b" if comm.rank == 2 else "a")
        return str(caught.value)

    sentence = "rank 2 was started with another configuration than rank 0: b against a"
    assert run_ranks(3, body) == [sentence] * 3


@pytest.mark.parametrize("failing", [[0], [1], [1, 2], [0, 1, 2]])
def test_bad_input_on_some_ranks_is_the_same_sentence_on_all(failing):
    def body(comm: Comm):
        with pytest.raises(InputError) as caught, comm.agreed():  # noqa: PT012
            if comm.rank in failing:
                raise InputError(f"part_{comm.rank}.bin: file is missing")
        assert comm.add(torch.ones(1)).item() == 3  # the group is still in step
        return str(caught.value)

    assert run_ranks(3, body) == [f"part_{failing[0]}.bin: file is missing"] * 3


def test_another_failure_keeps_its_kind_where_it_happened_and_names_its_rank_elsewhere():
    def body(comm: Comm):
        with pytest.raises(GcnsysError) as caught, comm.agreed():  # noqa: PT012
            if comm.rank == 1:
                raise GcnsysError("the disk is full")
        return type(caught.value), str(caught.value)

    first, second, third = run_ranks(3, body)
    assert first == third == (PeerError, "rank 1: the disk is full")
    assert second == (GcnsysError, "the disk is full")


def test_agreeing_on_success_raises_nothing():
    def body(comm: Comm):
        with comm.agreed():
            pass
        return comm.add(torch.ones(1)).item()

    assert run_ranks(3, body) == [3, 3, 3]


class Stopped:
    """Collects what the ranks that are not at fault are stopped by."""

    def __init__(self) -> None:
        self.told: dict[int, str] = {}
        self.left = threading.Semaphore(0)

    def guard(self, comm: Comm, collective) -> None:
        try:
            collective()
        except PeerError as error:
            self.told[comm.rank] = str(error)
            raise
        finally:
            self.left.release()

    def wait(self, count: int) -> dict[int, str]:
        for _ in range(count):
            assert self.left.acquire(timeout=30), "a rank still hangs"
        return self.told


COLLECTIVES = {
    "reduce": lambda comm: comm.add(torch.ones(4)),
    "control": lambda comm: comm.texts("here"),
    "halo": lambda comm: comm.swap(torch.ones(3, 2), [1, 1, 1], [1, 1, 1]).land(),
}


@pytest.mark.parametrize("kind", COLLECTIVES)
def test_a_rank_that_raises_stops_the_others_and_is_named_as_the_cause(kind):
    stopped = Stopped()

    def body(comm: Comm):
        if comm.rank == 1:
            raise ValueError("no such file")
        stopped.guard(comm, lambda: COLLECTIVES[kind](comm))

    with pytest.raises(RuntimeError, match="rank 1 of 3 failed: no such file") as caught:
        run_ranks(3, body, timeout=3)
    assert isinstance(caught.value.__cause__, ValueError)
    told = stopped.wait(2)
    assert set(told) == {0, 2}
    for sentence in told.values():
        assert f"lost contact with another rank during a {kind} exchange" in sentence
        assert "\n" not in sentence


def test_a_rank_that_leaves_without_calling_stops_the_others():
    def body(comm: Comm):
        if comm.rank != 1:
            comm.add(torch.ones(1))

    with pytest.raises(RuntimeError, match="lost contact with another rank during a reduce exchange"):
        run_ranks(3, body, timeout=10)


def test_a_rank_that_hangs_is_told_apart_from_those_that_finished():
    release = threading.Event()

    def body(comm: Comm):
        if comm.rank == 1:
            release.wait(60)

    try:
        with pytest.raises(TimeoutError, match=r"only ranks \[0, 2\] of 3 finished within 2 s"):
            run_ranks(3, body, timeout=2)
    finally:
        release.set()


def trainer_on(comm: Comm, parts, model) -> Trainer:
    training, evaluation = both_views(parts[comm.rank], model, comm)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Trainer(model, training, evaluation, Task(False), optimizer, comm)


def parts_of_small(num_parts: int):
    made = small("directed")
    return cut_dataset(made.dataset, assigned(made, "random", num_parts), num_parts)


def test_a_rank_that_fails_amid_training_stops_the_others():
    parts, stopped = parts_of_small(3), Stopped()

    def body(comm: Comm):
        trainer = trainer_on(comm, parts, model_for(Recipe(), hidden=8).double())

        def train():
            for epoch in trainer.epochs(5):
                if comm.rank == 2 and epoch.number == 3:
                    raise MemoryError("no memory left")

        stopped.guard(comm, train)

    with pytest.raises(RuntimeError, match="rank 2 of 3 failed: no memory left"):
        run_ranks(3, body, timeout=9)
    assert set(stopped.wait(3)) == {0, 1}


@pytest.mark.parametrize("where", ["weight", "running mean"])
def test_replicas_that_drift_apart_are_found_by_every_rank(where):
    parts = parts_of_small(3)

    def body(comm: Comm):
        model = model_for(Recipe(norm="batch"), hidden=8).double()
        trainer = trainer_on(comm, parts, model)
        list(trainer.epochs(2))
        trainer.evaluate()
        if comm.rank == 1:
            value = model.norms[0].running_mean if where == "running mean" else model.convs[1].linear.weight
            flat = value.data.view(-1)
            flat[3] = torch.nextafter(flat[3], torch.tensor(9.0, dtype=torch.float64))  # one bit
        with pytest.raises(GcnsysError, match="copies of the model differ"):
            trainer.evaluate()

    run_ranks(3, body)


def test_two_weights_that_changed_places_count_as_drift():
    parts = parts_of_small(2)

    def body(comm: Comm):
        model = model_for(Recipe(), hidden=8).double()
        trainer = trainer_on(comm, parts, model)
        if comm.rank == 1:
            weight = model.convs[0].linear.weight.data
            weight[[0, 1]] = weight[[1, 0]]
        with pytest.raises(GcnsysError, match="copies of the model differ"):
            trainer.evaluate()

    run_ranks(2, body)


def test_a_loss_that_is_not_finite_stops_every_rank_at_its_epoch():
    parts = parts_of_small(3)

    def body(comm: Comm):
        model = model_for(Recipe(), hidden=8).double()
        trainer = trainer_on(comm, parts, model)
        told = []
        try:
            for epoch in trainer.epochs(5):
                told.append(epoch.number)
                if comm.rank == 1 and epoch.number == 1:  # one rank's features go bad
                    trainer.training.inputs.neighbours[:] = float("nan")
        except GcnsysError as error:
            told.append(str(error))
        return told

    sentence = "the loss is nan at epoch 2; lower the learning rate or scale the features"
    assert run_ranks(3, body) == [[0, 1, sentence]] * 3


@pytest.mark.parametrize("where", ["activation", "gradient"])
def test_the_layer_that_is_not_finite_is_named(where):
    parts = parts_of_small(2)

    def body(comm: Comm):
        model = model_for(Recipe(), hidden=8).double()
        trainer = trainer_on(comm, parts, model)
        if where == "activation":
            with torch.no_grad():
                model.convs[1].linear.weight.fill_(math.inf)
        else:  # a logarithm's slope at 0, say
            model.convs[1].linear.weight.register_hook(lambda gradient: gradient * math.nan)
        with pytest.raises(GcnsysError) as caught:
            next(iter(trainer.epochs(1)))
        return str(caught.value)

    said = run_ranks(2, body)
    assert said[0] == said[1]
    if where == "activation":
        assert "the loss is nan at epoch 0 (the result of layer 1 is the first that is not finite)" in said[0]
    else:
        assert "the gradient of convs.1.linear.weight is not finite at epoch 0 (the loss is" in said[0]


def test_training_starts_from_the_weights_and_statistics_of_rank_0():
    parts = parts_of_small(3)

    def body(comm: Comm):
        model = build_model(ModelSettings("gin", hidden=8, norm="batch"), 10, 4, seed=comm.rank).double()
        model.norms[0].running_mean += comm.rank
        own = {name: value.clone() for name, value in model.state_dict().items()}
        trainer_on(comm, parts, model)
        return own, model.state_dict()

    ranks = run_ranks(3, body)
    before = ranks[0][0]
    assert not torch.equal(ranks[1][0]["convs.0.hidden.weight"], before["convs.0.hidden.weight"])
    for _, after in ranks:
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)


def test_every_rank_reports_the_same_loss_and_scores():
    parts = parts_of_small(4)

    def body(comm: Comm):
        trainer = trainer_on(comm, parts, model_for(Recipe(), hidden=8).double())
        losses = [epoch.loss for epoch in trainer.epochs(3)]
        return losses, trainer.evaluate().scores

    ranks = run_ranks(4, body)
    assert all(rank == ranks[0] for rank in ranks)
    assert set(ranks[0][1]) == {"train", "val", "test"}


def test_an_error_nobody_foresaw_is_raised_where_it_is_and_told_elsewhere():
    told = {}

    def body(comm: Comm):
        try:
            with comm.agreed():
                if comm.rank == 1:
                    raise MemoryError("no room")
        except (MemoryError, PeerError) as error:
            told[comm.rank] = f"{type(error).__name__}: {error}"

    run_ranks(3, body, timeout=10)
    elsewhere = "PeerError: rank 1: MemoryError: no room"
    assert told == {0: elsewhere, 1: "MemoryError: no room", 2: elsewhere}
