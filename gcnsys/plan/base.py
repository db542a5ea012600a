"""What a rank holds before it holds anything of a graph."""

import torch

from gcnsys.train.summary import peak_rss_bytes


def base_bytes() -> int:
    """The interpreter and its libraries, those included that torch loads with its first optimizer.

    It is this process that is asked, which has loaded what a rank loads: to be called before data are read.
    """
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    return peak_rss_bytes()
