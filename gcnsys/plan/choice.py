"""Which of several predictions to take."""

from collections.abc import Sequence
from dataclasses import dataclass

from gcnsys.errors import InputError
from gcnsys.plan.methods import RISKS
from gcnsys.plan.predict import Prediction
from gcnsys.plan.units import amount

ACCEPTED = 1
"""The greatest risk that is taken for speed alone."""

WORTHWHILE = 1.1
"""How much slower than the fastest a prediction may be that has less risk, or fewer parts: about as much as
predictions are off."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A prediction and why it is taken."""

    taken: Prediction
    because: str


def recommend(predictions: Sequence[Prediction], memory: float | None = None) -> Recommendation:
    """The least risk, then the fewest parts, among those that fit and are nearly as fast as the fastest.

    Args:
        predictions: at least one.
        memory: bytes of a rank; None: as much as it takes.

    Raises:
        InputError: none of them fits.
    """
    fitting = [each for each in predictions if memory is None or each.peak <= memory]
    if not fitting:
        least = min(predictions, key=lambda each: each.peak)
        assert memory is not None
        raise InputError(
            f"--memory {amount(memory, 'B')} is too little for any method: the least is "
            f"{amount(least.peak, 'B')} a rank, {least.method.name} on {least.parts} parts; ask for "
            f"more parts, a narrower model or more memory"
        )
    allowed = [each for each in fitting if each.method.risk <= ACCEPTED] or fitting
    fastest = min(allowed, key=lambda each: each.seconds)
    close = [each for each in allowed if each.seconds <= WORTHWHILE * fastest.seconds]
    taken = min(close, key=lambda each: (each.method.risk, each.parts, each.seconds))
    return Recommendation(taken, _reason(taken, fastest, predictions, fitting))


def _reason(
    taken: Prediction, fastest: Prediction, predictions: Sequence[Prediction], fitting: Sequence[Prediction]
) -> str:
    how = f"its risk to accuracy is {RISKS[taken.method.risk]} ({taken.method.because})"
    if taken is fastest:
        speed = f"it is the fastest at {amount(taken.seconds, 's')} an epoch"
    else:
        speed = (
            f"at {amount(taken.seconds, 's')} an epoch it is within {WORTHWHILE - 1:.0%} of the fastest, "
            f"{fastest.method.name} on {fastest.parts} parts, which has more risk or parts"
        )
    left = len(predictions) - len(fitting)
    room = f"; {left} of {len(predictions)} do not fit the memory" if left else ""
    return f"{speed}, and {how}{room}"
