"""The cost model says what it said: columns, bars, rank orders, mechanisms switched off."""

import json
from collections.abc import Iterator
from typing import Any

from experiments.accel.checks import GRAPHS, gains_on_cora, rank_orders, switched_off
from experiments.accel.run import columns
from experiments.bench import Bench
from experiments.figures import Figure, at_most, same


def check(at: Bench) -> Iterator[Figure]:
    yield from at.parts(published_columns, orders, mechanisms)


def published_columns(at: Bench) -> Iterator[Figure]:
    """A figure a column: the greatest deviation in it."""
    then = {column["name"]: column for column in at.record("results.json")["columns"]}
    now = {column["name"]: column for column in json.loads(json.dumps(columns()))}
    yield same("columns", list(now), list(then))
    for name in now.keys() & then.keys():
        yield from _compared(f"{name}", now[name], then[name], at.within("figures"))


def orders(at: Bench) -> Iterator[Figure]:
    recorded = at.record("results.json")["rank_orders"]
    found = json.loads(json.dumps(rank_orders()))
    yield from _compared("rank orders", found, recorded, at.within("figures"))


def mechanisms(at: Bench) -> Iterator[Figure]:
    """Those need the real graphs' rows."""
    at.need(*(f"{name}.npz" for name in GRAPHS))
    recorded = at.record("results.json")
    found = json.loads(json.dumps({"switched_off": switched_off(), "gains_on_cora": gains_on_cora()}))
    yield from _compared(
        "mechanisms switched off", found["switched_off"], recorded["switched_off"], at.within("figures")
    )
    yield from _compared(
        "gains on Cora", found["gains_on_cora"], recorded["gains_on_cora"], at.within("gains")
    )


def _compared(what: str, now: Any, then: Any, share: float) -> Iterator[Figure]:
    """Words and counts are the same; of numbers the greatest deviation counts."""
    mine, theirs = dict(_leaves(now)), dict(_leaves(then))
    words = [
        {key: value for key, value in each.items() if not isinstance(value, float)} for each in (mine, theirs)
    ]
    different = [key for key in words[0] | words[1] if words[0].get(key) != words[1].get(key)]
    yield same(f"{what}: what differs but numbers", different, [])
    numbers = {
        key: abs(value - theirs[key]) / max(abs(theirs[key]), 1e-9)
        for key, value in mine.items()
        if isinstance(value, float) and isinstance(theirs.get(key), (float, int))
    }
    worst = max(numbers, key=numbers.__getitem__, default="none")
    yield at_most(f"{what}: {worst}, off by a share of", numbers.get(worst, 0.0), share)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _leaves(each, f"{path}[{number}]")
    else:
        yield path, value
