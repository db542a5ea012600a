"""Node orders cut into groups."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gcnsys.errors import InputError
from gcnsys.graph import Layout, toy
from gcnsys.testing.graphs import assignments, graphs


@st.composite
def grouped_graphs(draw):
    graph = draw(graphs(signed=True))
    num_groups = draw(st.integers(1, 5))
    return graph, draw(assignments(graph.num_nodes, num_groups)).long(), num_groups


@given(grouped_graphs())
def test_nodes_are_ordered_by_group_and_then_by_id(drawn):
    graph, group_of, num_groups = drawn
    layout = Layout.from_groups(group_of, num_groups)
    groups = group_of.tolist()
    assert layout.order.tolist() == sorted(range(graph.num_nodes), key=lambda node: (groups[node], node))
    assert layout.group_ptr.diff().tolist() == [groups.count(group) for group in range(num_groups)]


@given(grouped_graphs())
def test_a_layout_remembers_the_group_of_every_node(drawn):
    _, group_of, num_groups = drawn
    assert torch.equal(Layout.from_groups(group_of, num_groups).group_of(), group_of)


@given(grouped_graphs())
def test_an_applied_layout_permutes_rows_and_columns(drawn):
    graph, group_of, num_groups = drawn
    layout = Layout.from_groups(group_of, num_groups)
    order = layout.order.numpy()
    want = graph.to_scipy().toarray()[np.ix_(order, order)]
    assert np.array_equal(layout.applied(graph).to_scipy().toarray(), want)


@given(grouped_graphs())
def test_edges_inside_are_those_between_nodes_of_one_group(drawn):
    graph, group_of, num_groups = drawn
    inside = sum(int(group_of[src] == group_of[dst]) for src, dst in graph.edge_index().t().tolist())
    assert Layout.from_groups(group_of, num_groups).edges_inside(graph) == inside


def test_ids_ascend_within_large_groups():
    group_of = torch.from_numpy(np.random.default_rng(0).integers(0, 3, 1000))
    layout = Layout.from_groups(group_of)
    for low, high in pairwise(layout.group_ptr.tolist()):
        assert bool((layout.order[low:high].diff() > 0).all())


def test_groups_may_be_empty_at_either_end():
    layout = Layout.from_groups(torch.tensor([1, 2, 1]), 5)
    assert layout.num_groups == 5
    assert layout.group_ptr.tolist() == [0, 0, 2, 3, 3, 3]


def test_the_number_of_groups_is_found_where_it_is_not_given():
    assert Layout.from_groups(torch.tensor([0, 3])).num_groups == 4


def test_no_nodes_make_no_groups():
    layout = Layout.from_groups(torch.zeros(0, dtype=torch.int64))
    assert (layout.num_groups, layout.group_of().tolist()) == (0, [])


def test_one_group_holds_every_edge():
    graph = toy.bridge()
    assert Layout.from_groups(torch.zeros(6, dtype=torch.int64)).edges_inside(graph) == graph.num_edges


BAD_LAYOUTS = {
    "a node twice": ([0, 0, 2], [0, 3], "order must name each of 3 nodes once"),
    "a node too large": ([0, 1, 3], [0, 3], "order must name each of 3 nodes once"),
    "a negative node": ([0, 1, -1], [0, 3], "order must name each of 3 nodes once"),
    "no bounds": ([0, 1, 2], [], r"groups must run from 0 to 3, got \[\]"),
    "a late start": ([0, 1, 2], [1, 3], r"groups must run from 0 to 3, got \[1, 3\]"),
    "an early end": ([0, 1, 2], [0, 2], r"groups must run from 0 to 3, got \[0, 2\]"),
    "bounds that decrease": ([0, 1, 2], [0, 2, 1, 3], "group bounds decrease"),
}


@pytest.mark.parametrize("name", BAD_LAYOUTS)
def test_a_layout_that_is_none_is_refused_for(name):
    order, bounds, message = BAD_LAYOUTS[name]
    with pytest.raises(InputError, match=message):
        Layout(torch.tensor(order), torch.tensor(bounds, dtype=torch.int64))


@pytest.mark.parametrize("wrong", [2, -1])
def test_a_group_outside_the_count_is_refused(wrong):
    with pytest.raises(InputError, match=f"a layout of 2 groups cannot have a group {wrong}"):
        Layout.from_groups(torch.tensor([0, 1, wrong]), 2)
