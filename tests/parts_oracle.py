"""What parts must be: dictionaries of edges, loops over nodes."""

import torch

TIGHT = {"rtol": 1e-12, "atol": 1e-12}


class Expected:
    """What one part must be, from a dictionary ``{(source, destination): weight}``.

    Args:
        nodes: those that take part at all.
        place: of each node in its part's order; None: by id.
    """

    def __init__(self, edges, part_of, num_parts, rank, nodes, place=None):
        place = place or {node: node for node in nodes}

        def halo_of(part):
            return {u for u, v in edges if part_of[v] == part and part_of[u] != part}

        self.inner_ids = sorted((node for node in nodes if part_of[node] == rank), key=place.get)
        self.halo_ids = sorted(halo_of(rank), key=lambda node: (part_of[node], place[node]))
        into = {(u, v): w for (u, v), w in edges.items() if part_of[v] == rank}
        self.inner = {edge: w for edge, w in into.items() if part_of[edge[0]] == rank}
        self.halo = {edge: w for edge, w in into.items() if part_of[edge[0]] != rank}
        self.sends = [
            sorted((u for u in halo_of(peer) if part_of[u] == rank), key=place.get) if peer != rank else []
            for peer in range(num_parts)
        ]
        self.fed = [
            [sum(1 for u, v in edges if u == node and part_of[v] == peer) for node in sent]
            for peer, sent in enumerate(self.sends)
        ]
        self.receives = [
            sum(1 for node in self.halo_ids if part_of[node] == peer) for peer in range(num_parts)
        ]


def edges_of(graph):
    weight = [1.0] * graph.num_edges if graph.weight is None else graph.weight.tolist()
    return {(u, v): w for (u, v), w in zip(graph.edge_index().t().tolist(), weight, strict=True)}


def degrees_of(edges, node):
    """In-degree, out-degree and whether a loop is added, loops completed."""
    added = 0.0 if (node, node) in edges else 1.0
    into = sum(w for (_, v), w in edges.items() if v == node)
    out_of = sum(w for (u, _), w in edges.items() if u == node)
    return [into + added, out_of + added, added]


def edges_in(csr, sources, destinations):
    weight = [1.0] * csr.num_edges if csr.weight is None else csr.weight.tolist()
    places = zip(csr.rows().tolist(), csr.indices.tolist(), weight, strict=True)
    found = [((int(sources[col]), int(destinations[row])), w) for row, col, w in places]
    assert len(dict(found)) == len(found), "an edge is there twice"
    return dict(found)


def degrees_in(degrees):
    return torch.stack([degrees.into, degrees.out_of, degrees.added_loop], 1)


def check(part, want, edges):
    """Compare a part with the oracle, field by field."""
    assert part.inner_ids.tolist() == want.inner_ids
    assert part.halo_ids.tolist() == want.halo_ids
    assert (part.inner.num_rows, part.inner.num_cols) == (len(want.inner_ids), len(want.inner_ids))
    assert (part.halo.num_rows, part.halo.num_cols) == (len(want.inner_ids), len(want.halo_ids))
    assert edges_in(part.inner, part.inner_ids, part.inner_ids) == want.inner
    assert edges_in(part.halo, part.halo_ids, part.inner_ids) == want.halo
    plan = part.plan
    sent = plan.send_rows.split(list(plan.send_counts))
    assert [part.inner_ids[rows].tolist() for rows in sent] == want.sends
    assert list(plan.recv_counts) == want.receives
    assert [fed.tolist() for fed in plan.send_edges.split(list(plan.send_counts))] == want.fed
    for degrees, ids in ((part.degrees, want.inner_ids), (part.halo_degrees, want.halo_ids)):
        expected = torch.tensor([degrees_of(edges, node) for node in ids], dtype=torch.float64).reshape(-1, 3)
        torch.testing.assert_close(degrees_in(degrees), expected, **TIGHT)
