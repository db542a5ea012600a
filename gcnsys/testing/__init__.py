"""A harness for tests, ours and those of plug-in authors; it imports from anywhere, nothing imports it.

``ranks`` runs a function on several ranks in one process; ``graphs`` draws small random graphs;
``samplers`` checks a boundary sampler.
"""
