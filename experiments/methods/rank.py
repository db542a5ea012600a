"""One rank of the accuracy experiment: trains every run of a plan that has no result, one after the other."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from gcnsys.partition import Partitioning
from gcnsys.runtime import Comm, Placement, joined
from gcnsys.train import RunConfig
from gcnsys.train.run import prepare_process, run_part


def train(values: dict[str, Any], folder: Path, comm: Comm, placement: Placement) -> dict[str, Any]:
    """One run, to the record that is kept of it."""
    config, validation = RunConfig.checked(values), list[float]()
    prepare_process(config)
    summary = run_part(
        Partitioning.open(folder), config, comm, placement, watch=lambda r: validation.append(r["val_acc"])
    )
    return {
        "test_acc": summary["test_acc_at_best_val"], "validation": [round(acc, 4) for acc in validation],
        "halo_bytes": sum(summary["halo_bytes_sent_per_epoch"]),
        "buffer_bytes": sum(summary["exchange_buffer_bytes"]),
    }  # fmt: skip


def main() -> None:
    plan, results = Path(sys.argv[1]), Path(sys.argv[2])
    with joined("cpu") as (comm, placement):
        done = [json.loads(line)["run"] for line in results.read_text().splitlines()]
        for line in plan.read_text().splitlines():
            run = json.loads(line)
            if run in done:
                continue
            began = time.perf_counter()
            record = train(run["config"], Path(run["folder"]), comm, placement)
            if comm.rank:
                continue
            with results.open("a") as file:
                print(json.dumps({"run": run, "record": record}), file=file)
            print(
                f"{run['title']}: {record['test_acc']:.4f} ({time.perf_counter() - began:.1f} s)",
                file=sys.stderr, flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
