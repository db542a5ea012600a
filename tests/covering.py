"""A few combinations of many choices in which every pair (or triple) of choices occurs."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from typing import Any

Case = dict[str, Any]


def all_cases(choices: Mapping[str, Sequence[Any]]) -> list[Case]:
    """The full product."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def together(case: Case, order: Iterable[str], strength: int) -> set[tuple[tuple[str, Any], ...]]:
    """Every ``strength`` choices that a case, perhaps an unfinished one, makes together."""
    return set(combinations([(name, case[name]) for name in order if name in case], strength))


def covering(choices: Mapping[str, Sequence[Any]], strength: int = 2) -> list[Case]:
    """Cases such that every ``strength`` choices occur together in one; always the same ones.

    Greedy: each case starts from a combination that is still missing and takes, name after name,
    the choice that brings most missing ones with what is taken already; of equals, the choice that
    has been used least.
    """
    missing = {
        combination: None
        for names in combinations(choices, strength)
        for combination in product(*([(name, value) for value in choices[name]] for name in names))
    }
    used = {(name, value): 0 for name in choices for value in choices[name]}
    cases = []
    while missing:
        case = dict(next(iter(missing)))
        for name in choices:
            if name not in case:
                rated = []
                for value in choices[name]:
                    brought = together({**case, name: value}, choices, strength) & missing.keys()
                    rated.append((len(brought), -used[name, value]))
                case[name] = choices[name][rated.index(max(rated))]
        for combination in together(case, choices, strength):
            missing.pop(combination, None)
        for choice in case.items():
            used[choice] += 1
        cases.append({name: case[name] for name in choices})
    return cases


def name_of(case: Case) -> str:
    """A test id: the choices in order, those that are no words with their names."""
    return "-".join(str(v) if isinstance(v, str) else f"{k}={v}" for k, v in case.items())
