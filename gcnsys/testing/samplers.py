"""What the exchange relies on in a boundary sampler, as a check that authors of one can run."""

from collections.abc import Callable

import torch

from gcnsys.runtime.rows import Boundary, BoundarySampler, Draw, Occasion


def boundaries() -> list[Boundary]:
    """Boundaries that a sampler must cope with: none, one row, equal and very unequal rows, idle rows."""
    sizes = [torch.zeros(0), torch.ones(1), torch.ones(50), torch.arange(1, 41), torch.arange(30) % 3]
    sizes += [torch.cat([torch.full((2,), 10_000), torch.ones(60)])]
    return [Boundary(rank, (rank + 1) % 3, edges.long()) for rank, edges in enumerate(sizes)]


def check_boundary_sampler(
    make: Callable[[float], BoundarySampler], *, rates: tuple[float, ...] = (0.0, 0.1, 0.5, 1.0),
    draws: int = 2000, z: float = 5.0,
) -> None:  # fmt: skip
    """Raise unless a sampler draws what the exchange relies on.

    Rows that exist, in ascending order; the same ones whenever it is asked with the same arguments, by
    whichever end; others in another epoch; and sums of rows that are right in expectation, each row
    counted for as many as its scale says.

    Args:
        make: the sampler for a rate.
        rates: to try.
        draws: epochs over which expectations are taken.
        z: standard errors by which an expectation may be off. The draws are fixed, so a sampler that
            passes once passes always.

    Raises:
        AssertionError: it does not; the message says what was expected.
    """
    for rate in rates:
        for boundary in boundaries():
            where = f"rate {rate:g}, edges {boundary.edges.tolist()[:4]}... ({boundary.num_rows} rows)"
            first = make(rate).draw(boundary, Occasion(0, 0))
            _check_draw(first, boundary, where)
            twin = Boundary(boundary.sender, boundary.receiver, boundary.edges.clone())
            again = make(rate).draw(twin, Occasion(0, 0))
            same = torch.equal(first.positions, again.positions) and torch.equal(first.scale, again.scale)
            assert same, f"{where}: the two ends must draw the same rows, but two samplers drew differently"
            if rate == 1:
                everything = torch.nonzero(boundary.edges > 0).flatten()
                assert set(everything.tolist()) <= set(first.positions.tolist()), (
                    f"{where}: at rate 1 every row that feeds an edge must be drawn"
                )
                assert bool((first.scale == 1).all()), f"{where}: at rate 1 every scale must be 1"
            if 0 < rate < 1 and boundary.num_rows:
                _check_expectation(make(rate), boundary, draws, z, where)


def _check_draw(draw: Draw, boundary: Boundary, where: str) -> None:
    positions, scale = draw.positions, draw.scale
    assert positions.dtype == torch.int64, f"{where}: positions must be int64, not {positions.dtype}"
    assert scale.dtype == torch.float64, f"{where}: scale must be float64, not {scale.dtype}"
    assert positions.shape == scale.shape, f"{where}: there must be a scale for every position"
    inside = bool(((positions >= 0) & (positions < boundary.num_rows)).all())
    assert inside, f"{where}: positions must lie in [0, {boundary.num_rows}): {positions.tolist()}"
    ascending = bool((positions.diff() > 0).all())
    assert ascending, f"{where}: positions must ascend, each at most once: {positions.tolist()}"
    assert bool((scale >= 1).all()), f"{where}: 1 / a probability is at least 1: {scale.tolist()}"


def _check_expectation(
    sampler: BoundarySampler, boundary: Boundary, draws: int, z: float, where: str
) -> None:
    total, squares = (torch.zeros(boundary.num_rows, dtype=torch.float64) for _ in range(2))
    different = set()
    for epoch in range(draws):
        draw = sampler.draw(boundary, Occasion(1, epoch))
        _check_draw(draw, boundary, where)
        total[draw.positions] += draw.scale
        squares[draw.positions] += draw.scale**2
        different.add(tuple(draw.positions.tolist()))
    useful = boundary.edges > 0
    mean = total / draws
    error = ((squares / draws - mean**2).clamp(min=0) / draws).sqrt()
    # A row that is nearly always drawn may never have been missed: its mean is then its scale, near 1.
    off = (mean - 1).abs() > z * error + 1e-6 + (error == 0) * (z / draws)
    wrong = torch.nonzero(off & useful).flatten()
    assert not wrong.numel(), (
        f"{where}: over {draws} epochs row {int(wrong[0])} counted {float(mean[wrong[0]]):.3f} times "
        f"on average, which must be 1: scale must be 1 / the probability of a row"
    )
    if int(useful.sum()) > 1 and len(sampler.draw(boundary, Occasion(1, 0)).positions) < int(useful.sum()):
        assert len(different) > 1, f"{where}: every epoch drew the same rows"
