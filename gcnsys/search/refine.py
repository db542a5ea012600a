"""The accelerators of the best designs, improved one choice at a time.

An optimizer of many choices at once rarely tries a good model with the accelerator that suits it best. The
cost model takes milliseconds, so that each model near the front gets what no single change makes faster.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from gcnsys.accel.mechanisms.template import DATAFLOWS
from gcnsys.search.problem import Judged
from gcnsys.search.space import CLOCKS, ORDERS, SUBS, TILES, Design, Hardware, Shape
from gcnsys.search.study import Found


def refined(found: Sequence[Found], judge: Callable[[Design], Judged]) -> list[Found]:
    """A design for each model: its fastest one, its accelerator changed for as long as a single change helps.

    Args:
        found: designs; of each model the fastest is begun with.
        judge: what a design is worth.

    Returns:
        as many designs as there are models, under the numbers of those that they come from.
    """
    fastest: dict[Shape, Found] = {}
    for each in sorted(found, key=lambda one: one.judged.seconds):
        fastest.setdefault(each.design.shape, each)
    return [_descended(each, judge) for each in fastest.values()]


def _descended(best: Found, judge: Callable[[Design], Judged]) -> Found:
    while True:
        shape = best.design.shape
        tried = (Design(shape, hardware) for hardware in changes(best.design.hardware))
        judged = ((design, judge(design)) for design in tried)
        design, worth = min(judged, key=lambda pair: pair[1].seconds)
        if worth.seconds >= best.judged.seconds:
            return best
        best = Found(best.number, design, worth)


def changes(hardware: Hardware) -> Iterator[Hardware]:
    """Accelerators that differ in one choice; another number of sub-accelerators has equal shares."""
    for dataflow in DATAFLOWS:
        yield replace(hardware, dataflow=dataflow)
    for order in ORDERS:
        yield replace(hardware, order=order)
    for tile in TILES:
        yield replace(hardware, tile=tile)
    for clock in CLOCKS:
        yield replace(hardware, clock=clock)
    for skips in (False, True):
        yield replace(hardware, skips=skips)
    for count in SUBS:
        shares = (1 / count,) * count
        yield replace(hardware, elements=shares, buffers=shares)
