"""One rank of the throughput experiment: epochs by one method, and where their time goes."""

import json
import statistics
import sys
from pathlib import Path

import torch

from gcnsys.nn import build_model
from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, joined
from gcnsys.runtime.lane import Passage
from gcnsys.train import RunConfig
from gcnsys.train.run import make_optimizer, peak_rss_bytes, prepare_process
from gcnsys.train.task import Task
from gcnsys.train.trainer import Trainer
from gcnsys.train.view import crossing, views

DEVICE, DTYPE = torch.device("cpu"), torch.float32


def passages(trainer: Trainer) -> list[Passage]:
    """Every departure of the last epoch."""
    found = [passage for exchange in trainer.training.exchanges for passage in exchange.passages]
    return [passage for passage in found if passage.sent_bytes]


def measured(config: RunConfig, warm: int, epochs: int, comm: Comm) -> dict[str, float]:
    """Medians over epochs, of this rank."""
    prepare_process(config)
    partitioning = Partitioning.open(Path(config.data))
    manifest = partitioning.manifest
    model = build_model(
        config.model_settings(), manifest.num_features, manifest.num_classes, seed=config.seed
    )
    training, evaluation = views(
        partitioning.part(comm.rank), model, comm, choice="on", device=DEVICE, dtype=DTYPE
    )
    training = crossing(training, comm, config.choices(), device=DEVICE, keep=False)
    trainer = Trainer(
        model, training, evaluation, Task(manifest.multilabel), make_optimizer(model, config), comm
    )
    done, hidable = [], []
    for epoch in trainer.epochs(warm + epochs):
        if epoch.number >= warm:
            done.append(epoch)
            hidable.append(sum(min(p.waited_seconds, p.beside_seconds) for p in passages(trainer)))

    def median(name: str) -> float:
        return statistics.median(getattr(epoch, name) for epoch in done)

    return {
        "epoch": median("seconds"), "compute": median("compute_seconds"), "waiting": median("comm_seconds"),
        "reduce": median("reduce_seconds"), "hidable": statistics.median(hidable),
        "halo_bytes": done[-1].halo_bytes, "buffer_bytes": done[-1].buffer_bytes,
        "peak_bytes": peak_rss_bytes(),
    }  # fmt: skip


def main() -> None:
    config = RunConfig.checked(json.loads(sys.argv[1]))
    warm, epochs = int(sys.argv[2]), int(sys.argv[3])
    with joined("cpu") as (comm, _):
        ranks = [json.loads(text) for text in comm.texts(json.dumps(measured(config, warm, epochs, comm)))]
    if comm.rank == 0:
        print(json.dumps({name: [rank[name] for rank in ranks] for name in ranks[0]}))


if __name__ == "__main__":
    main()
