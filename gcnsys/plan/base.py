"""What a rank holds before it holds anything of a graph."""

from gcnsys.plan.job import Job
from gcnsys.plan.pace import FEW, sample, step_on
from gcnsys.train import RunConfig
from gcnsys.train.summary import peak_rss_bytes


def base_bytes() -> int:
    """The interpreter and its libraries, those included that are loaded with the first step of training.

    It is this process that is asked, which has loaded what a rank loads: to be called before data are read.
    """
    job = Job(RunConfig.checked({"data": "a few nodes"}), FEW, 2, density=0.5)
    step_on(job, *sample(job, FEW, FEW))()
    return peak_rss_bytes()
