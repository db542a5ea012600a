"""What a run is between two epochs: taken down as arrays, and put back.

Draws, dropout masks and random rounding follow from the epoch's number, so nothing of them is kept. What a
rank has besides the model is torch's random state, for layers that draw for themselves, and what a
pipeline has under way.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from gcnsys.errors import DamagedFileError
from gcnsys.runtime.exchange import Exchange
from gcnsys.runtime.lane import Landed, Lane
from gcnsys.runtime.rows import Occasion
from gcnsys.train.best import Best
from gcnsys.train.checkpoint import REMEDY, State
from gcnsys.train.task import Score
from gcnsys.train.trainer import Evaluation, Trainer

_MOST_PLACES = 64
"""More aggregations than any layer makes."""


def shared(trainer: Trainer, best: Best) -> State:
    """What all ranks have alike: weights, the best epoch's weights, the optimizer, the scheduler."""
    arrays = {f"weights/{name}": _copied(tensor) for name, tensor in trainer.model.state_dict().items()}
    arrays |= {f"best/{name}": tensor.cpu() for name, tensor in best.state.items()}
    optimizer, slots = trainer.optimizer.state_dict(), {}
    for number, slot in optimizer["state"].items():
        slots[str(number)] = {key: value for key, value in slot.items() if not isinstance(value, Tensor)}
        tensors = {key: value for key, value in slot.items() if isinstance(value, Tensor)}
        arrays |= {f"optimizer/{number}/{key}": _copied(tensor) for key, tensor in tensors.items()}
    about: dict[str, Any] = {"groups": optimizer["param_groups"], "slots": slots, "scheduler": None}
    if trainer.scheduler is not None:
        about["scheduler"] = trainer.scheduler.state_dict()
    about["best"] = {"epoch": best.epoch, "key": best.key, "evaluation": None}
    if best.evaluation is not None:
        about["best"]["evaluation"] = asdict(best.evaluation)
    return State(arrays, about)


def put_back_shared(state: State, trainer: Trainer, best: Best) -> None:
    """Give a trainer that was made alike what :func:`shared` took.

    Raises:
        DamagedFileError: it is of another model or optimizer.
    """
    with _fits("what all ranks share"):
        weights = trainer.model.state_dict()
        _same_names(weights, _under("weights", state.arrays))
        for name, tensor in weights.items():
            tensor.copy_(_like(tensor, state.arrays[f"weights/{name}"], name))
        kept = _under("best", state.arrays)
        if kept:
            _same_names(weights, kept)
            # Copies: what is read is a map of a file that will be removed.
            best.state = {
                name: _like(weights[name], kept[name], name).to(weights[name].device, copy=True)
                for name in weights
            }
        parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
        slots: dict[int, dict[str, Any]] = {int(n): dict(slot) for n, slot in state.about["slots"].items()}
        for name, tensor in _under("optimizer", state.arrays).items():
            number, _, key = name.partition("/")
            if tensor.dim():
                _like(parameters[int(number)], tensor, name)
            slots[int(number)][key] = tensor.clone()
        trainer.optimizer.load_state_dict({"state": slots, "param_groups": state.about["groups"]})
        if trainer.scheduler is not None:
            trainer.scheduler.load_state_dict(state.about["scheduler"])
        found = state.about["best"]
        best.epoch, best.key = int(found["epoch"]), (float(found["key"][0]), float(found["key"][1]))
        if found["evaluation"] is not None:
            scores = {name: Score(**score) for name, score in found["evaluation"]["scores"].items()}
            best.evaluation = Evaluation(scores, found["evaluation"]["seconds"])


def own(trainer: Trainer) -> State:
    """What one rank has to itself; collective, as all that is under way is waited for."""
    arrays, lanes = {"random": torch.get_rng_state()}, {}
    if torch.cuda.is_initialized():
        arrays["random_cuda"] = torch.cuda.get_rng_state()
    for name, lane in _lanes(trainer.training.exchanges):
        landed = lane.kept()
        if not landed and lane.smoothed is None:
            continue
        for number, each in enumerate(landed):
            # Files know no bfloat16: the bits are kept as integers.
            half = each.wire.dtype == torch.bfloat16
            arrays[f"{name}/{number}"] = _copied(each.wire.view(torch.int16) if half else each.wire)
        if lane.smoothed is not None and lane.smoothed.mean is not None:
            arrays[f"{name}/mean"] = _copied(lane.smoothed.mean)
            arrays[f"{name}/arrivals"] = _copied(lane.smoothed.arrivals)
        lanes[name] = [
            {
                "width": each.width,
                "occasion": None if each.occasion is None else asdict(each.occasion),
                "half": each.wire.dtype == torch.bfloat16,
            }
            for each in landed
        ]
    return State(arrays, {"lanes": lanes})


def put_back_own(state: State, trainer: Trainer) -> None:
    """Give a rank of the same part what :func:`own` took.

    Raises:
        DamagedFileError: it is of another part.
    """
    with _fits("a rank's own state"):
        torch.set_rng_state(state.arrays["random"])
        if torch.cuda.is_initialized() and "random_cuda" in state.arrays:
            torch.cuda.set_rng_state(state.arrays["random_cuda"])
        like = next(trainer.model.parameters())
        for name, kept in state.about["lanes"].items():
            _, layer, place, direction = name.split("/")
            exchange = trainer.training.exchanges[int(layer)]
            if not 0 <= int(place) < _MOST_PLACES:
                raise ValueError(f"a layer does not aggregate {place} times")
            lane = exchange.pair(int(place))[direction == "gradients"]
            landed = [
                Landed(
                    _wire(state.arrays[f"{name}/{number}"].clone(), half=each.get("half", False)),
                    None if each["occasion"] is None else Occasion(**each["occasion"]), int(each["width"]),
                )
                for number, each in enumerate(kept)
            ]  # fmt: skip
            lane.take_up(landed, exchange.drawer, trainer.training.stored, like.device)
            if lane.smoothed is not None and f"{name}/mean" in state.arrays:
                if len(state.arrays[f"{name}/mean"]) != lane.smoothed.num_rows:
                    raise ValueError(f"{name} averages {len(state.arrays[f'{name}/mean'])} rows")
                lane.smoothed.mean = state.arrays[f"{name}/mean"].clone().to(like.device)
                lane.smoothed.arrivals = state.arrays[f"{name}/arrivals"].clone().to(like.device)


def _lanes(exchanges: Sequence[Exchange]) -> Iterator[tuple[str, Lane]]:
    for layer, exchange in enumerate(exchanges):
        for place in range(exchange.num_pairs):
            features, gradients = exchange.pair(place)
            yield f"lane/{layer}/{place}/features", features
            yield f"lane/{layer}/{place}/gradients", gradients


def _wire(kept: Tensor, *, half: bool) -> Tensor:
    return kept.view(torch.bfloat16) if half else kept


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _under(prefix: str, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _same_names(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    if wanted.keys() != found.keys():
        raise DamagedFileError(f"a checkpoint of another model: it has {sorted(found)[:3]} ...; {REMEDY}")


def _like(wanted: Tensor, found: Tensor, name: str) -> Tensor:
    if wanted.shape != found.shape or wanted.dtype != found.dtype:
        raise DamagedFileError(
            f"a checkpoint of another model: {name} is {found.dtype} {list(found.shape)} where "
            f"{wanted.dtype} {list(wanted.shape)} is needed; {REMEDY}"
        )
    return found


@contextlib.contextmanager
def _fits(what: str) -> Iterator[None]:
    """Whatever is missing or of another kind in a block: the checkpoint is not of this run."""
    try:
        yield
    except DamagedFileError:
        raise
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise DamagedFileError(
            f"a checkpoint whose state does not fit this run ({what}: {type(error).__name__} {error}); "
            f"{REMEDY}"
        ) from error
