"""gcnsys: train graph convolutional networks on a whole graph that does not fit one device.

General layout, bottom up (an import only ever points downwards; ``tests/test_layering.py``):

* ``graph``      the graph value, layouts, toy graphs
* ``kernels``    aggregation, keyed dropout, blocks on one device
* ``datasets``   a name or a path -> graph with features, labels, masks
* ``partition``  graph -> assignment -> partitioning on disk -> one part
* ``nn``         models over blocks
* ``runtime``    process group, halo exchange, a part as blocks
* ``train``      configuration, loop, evaluation, run folder
* ``report``     pictures of runs
* ``cli``        the command line

``testing`` stands beside them: ranks as threads and other helpers for tests, ours and yours.
"""

__version__ = "0.1.0"
