"""``digits``: real handwritten digits as a graph, embedded in scikit-learn, no network needed.

1,797 images of 8 x 8 pixels, ten classes; each image is joined to its eight nearest neighbours by
pixel distance (made undirected). The source is the UCI test set of optical recognition of
handwritten digits, as scikit-learn ships it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gcnsys.errors import InputError


def read(argument: str) -> Mapping[str, Any]:
    """The arrays of the digits graph; ``digits:K`` takes K neighbours."""
    from sklearn.datasets import load_digits
    from sklearn.neighbors import kneighbors_graph

    if argument and not (argument.isdecimal() and 1 <= int(argument) <= 100):
        raise InputError(f"digits:{argument}: the argument is the number of neighbours, 1 to 100")
    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    # Row v of the matrix lists the nearest neighbours of v: they send to v.
    near = kneighbors_graph(x, int(argument or 8)).tocoo()
    pairs = np.stack([near.col, near.row])
    both = np.unique(np.concatenate([pairs, pairs[::-1]], axis=1), axis=1)
    return {
        "edge_index": both.astype(np.int32), "x": x, "y": digits.target.astype(np.int64),
        "is_symmetric": np.array(True),
    }  # fmt: skip
