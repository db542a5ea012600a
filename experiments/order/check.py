"""Parts as recorded, simulated misses as recorded, clusters about as much faster as recorded."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from experiments.bench import Bench
from experiments.figures import Figure, at_most, best_of, left_out, near, same
from experiments.order.run import GRAPHS, measured
from gcnsys.kernels.memory import as_training_has_it

CHECKED = ("cora", "amazon_photo", "coauthor_cs", "facebook_pages", "reddit60k")
WIDTH, SECONDS = 64, 1.0


def check(at: Bench) -> Iterator[Figure]:
    torch.set_num_threads(1)
    as_training_has_it()
    recorded = at.record("results.json")
    for name in CHECKED:
        why = at.missing(f"{name}.npz")
        if why is not None or name not in recorded["graphs"]:
            yield left_out(name, why or f"no record of {name}")
            continue
        spec, parts = GRAPHS[name]
        again = partial(measured, spec.format(data=at.data(".")), parts, [WIDTH], SECONDS)
        yield from _compared(at, name, again, again(), recorded["graphs"][name])


def _compared(
    at: Bench, name: str, again: Callable[[], dict[str, Any]], now: dict[str, Any], then: dict[str, Any]
) -> Iterator[Figure]:
    for key in ("parts", "nodes", "edges"):
        yield same(f"{name}: {key} of the first part", now[key], then[key])
    key = f"misses_at_{WIDTH}"
    if key in then:
        for order, caches in then[key].items():
            for cache, missed in caches.items():
                what = f"{name}, {order}: misses of the {cache} cache"
                yield near(what, now[key][order][cache], missed, at.within("misses"))
    else:
        yield left_out(f"{name}: misses", "no record of misses")
    what = f"{name}: times as fast by cluster, gathered in place"

    def gain(found: dict[str, Any]) -> dict[str, float]:
        spent = found[f"milliseconds_at_{WIDTH}"]
        return {what: spent["natural, straight"] / spent["cluster, straight"]}

    yield from best_of(lambda: gain(again()), {what: at.within("gain")}, first=gain(now))
    if now["parts"] > 1:  # of one part there is no assignment
        cost = now["parts"] * now["order_seconds"]["cluster"] / now["assignment_seconds"]
        yield at_most(f"{name}: seconds to find the clusters over METIS's", cost, at.within("cost"))
