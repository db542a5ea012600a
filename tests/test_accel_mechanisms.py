"""Each mechanism against a count or a simulation that shares no code with it."""

import math
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
import torch
from accel_graphs import power_law
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnsys.accel import Blocks, IslandTasks, Structure, Work, counts, graphs, load, model_work, names
from gcnsys.accel.mechanisms import GCNAX, HyGCN
from gcnsys.accel.mechanisms.balance import Balancing, column_cycles
from gcnsys.accel.mechanisms.base import heaviest_share
from gcnsys.accel.mechanisms.gcnear import exchange_ratio, module_reads
from gcnsys.accel.mechanisms.hygcn import windows_loaded
from gcnsys.datasets import load as dataset
from gcnsys.graph import Graph, Layout
from gcnsys.islands import locate, looped, shared_sums, windows
from gcnsys.search.layouts import island_tasks

GRAPHS = ("cora", "citeseer", "dblp_full", "facebook_pages", "amazon_photo", "coauthor_cs", "tolokers",
          "blogcatalog_attr")  # fmt: skip
ON = Balancing(hops=3, switching=True, remapping=4)


# --- AWB-GCN -----------------------------------------------------------------------------------------------


def simulated(matrix, elements, columns, hops):
    """Cycle by cycle: tasks arrive, one an element and cycle, at the queue that is shortest within reach.

    Rows are dealt out in runs; after a column the busiest and the idlest element exchange rows; a row that
    holds four times an element's average is dealt out to all.
    """
    num_rows = matrix.num_rows
    owner = np.arange(num_rows) * elements // num_rows
    # As they arrive: the matrix is read by columns, so that the rows of a column come together.
    entries = matrix.rows().numpy()[np.argsort(matrix.indices.numpy(), kind="stable")]
    mean = entries.size / elements
    evil = np.bincount(entries, minlength=num_rows) > 4 * mean
    cycles = 0
    for _ in range(columns):
        arriving = deque(entries.tolist())
        queues, done, turn = [0] * elements, np.zeros(elements, int), 0
        while arriving or any(queues):
            for _ in range(min(elements, len(arriving))):
                row = arriving.popleft()
                if evil[row]:
                    turn = (turn + 1) % elements
                    reach = range(turn, turn + 1)
                else:
                    reach = range(max(0, owner[row] - hops), min(elements, owner[row] + hops + 1))
                queues[min(reach, key=queues.__getitem__)] += 1
            for element in range(elements):
                if queues[element]:
                    queues[element] -= 1
                    done[element] += 1
            cycles += 1
        work = np.bincount(owner[entries], minlength=elements)
        busiest, idlest = int(work.argmax()), int(work.argmin())
        rows = np.flatnonzero((owner == busiest) & ~evil)
        owner[rows[: rows.size // 2]] = idlest
    return cycles


@pytest.mark.parametrize(
    ("nodes", "edges", "elements", "hops"), [(240, 1500, 16, 2), (500, 4000, 32, 2), (300, 2600, 24, 3)]
)
def test_balancing_agrees_with_a_simulation_of_every_cycle(nodes, edges, elements, hops):
    matrix = power_law(nodes, edges).adjacency.looped()
    rows = matrix.indptr.diff().numpy()
    balancing = Balancing(hops=hops, switching=True, remapping=4)
    modelled = column_cycles(rows, elements, 8, balancing)
    assert modelled == pytest.approx(simulated(matrix, elements, 8, hops), rel=0.1)
    off = column_cycles(rows, elements, 8, Balancing(hops=0, switching=False, remapping=0))
    assert off > 1.3 * modelled  # there is something to balance


@pytest.mark.parametrize("name", GRAPHS)
def test_without_balancing_every_real_graph_is_slower(data_folder, name):
    graph = dataset(f"npz:{data_folder / name}.npz", normalization="none")
    work = model_work(name, Structure.of(graph.graph), [graph.num_features, 16, graph.num_classes], graph.x)
    awb = load("awb-gcn")
    on = awb.estimate(work)
    none = awb.mechanism.model_copy(update={"hops": 0, "switching": False, "remapping": 0})
    off = awb.model_copy(update={"mechanism": none}).estimate(work)
    assert sum(step.compute for step in off.steps) > sum(step.compute for step in on.steps)
    for one in ({"switching": False}, {"remapping": 0}, {"hops": 0}):
        less = awb.model_copy(update={"mechanism": awb.mechanism.model_copy(update=one)}).estimate(work)
        assert less.cycles >= on.cycles, one


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(1, 64), st.integers(1, 64),
    st.integers(1, 20), st.integers(0, 4), st.booleans(), st.sampled_from([0, 1, 4]), st.data(),
)  # fmt: skip
def test_more_elements_and_fewer_entries_are_never_slower(rows, few, more, columns, hops, one, two, data):
    few, more = sorted((few, more))
    rows, balancing = np.array(rows), Balancing(hops=hops, switching=one, remapping=two)
    cycles = column_cycles(rows, few, columns, balancing)
    assert column_cycles(rows, more, columns, balancing) <= cycles
    assert cycles >= math.floor(columns * rows.sum() / few)
    fewer = rows - np.array([data.draw(st.integers(0, int(count))) for count in rows])
    assert column_cycles(fewer, few, columns, balancing) <= cycles


# --- I-GCN -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "cora", "citeseer"])
@pytest.mark.parametrize("rule", ["windows", "shared"])
def test_operations_of_islands_are_those_that_are_carried_out(data_folder, name, rule):
    spec = name if name == "digits" else f"npz:{data_folder / name}.npz"
    islands = locate(dataset(spec).graph)
    whole = looped(islands.graph)
    plan = windows.exact(islands) if rule == "windows" else shared_sums(whole)
    structure = Structure.of(islands.graph, islands=island_tasks(islands, plan))
    # Carry the plan out on integers, counting every accumulation as it happens.
    values, done = torch.randint(1, 9, (whole.num_rows,)).tolist(), 0
    given = list(values)
    for level in plan.levels:
        for first, last in zip(level.indptr[:-1].tolist(), level.indptr[1:].tolist(), strict=True):
            terms = [values[column] for column in level.indices[first:last].tolist()]
            done += len(terms) - 1
            values.append(sum(terms))
    weight = torch.ones(plan.rows.num_edges) if plan.rows.weight is None else plan.rows.weight
    result = []
    for first, last in zip(plan.rows.indptr[:-1].tolist(), plan.rows.indptr[1:].tolist(), strict=True):
        total = 0
        for column, sign in zip(
            plan.rows.indices[first:last].tolist(), weight[first:last].tolist(), strict=True
        ):
            total, done = total + int(sign) * values[column], done + 1
        result.append(total)
    assert result == (whole.to_scipy().astype(int) @ np.array(given)).tolist()
    work = model_work(name, structure, [8, 4])
    (step,) = load("i-gcn").estimate(work).steps
    assert step.notes["operations"] == pytest.approx(4 * done)
    assert step.macs == pytest.approx(work.layers[0].nonzeros * 4 + 4 * done)


def test_islands_make_it_faster_and_sharing_can_be_switched_off():
    plain = counts("pubmed").work("pubmed")
    entries = plain.structure.entries
    told = replace(plain.structure, islands=IslandTasks(10, 5, entries, entries // 2, entries))
    igcn = load("i-gcn")
    fast, slow = igcn.estimate(replace(plain, structure=told)), igcn.estimate(plain)
    assert fast.seconds < slow.seconds
    off = igcn.model_copy(update={"mechanism": igcn.mechanism.model_copy(update={"sharing": False})})
    assert off.estimate(replace(plain, structure=told)).seconds == slow.seconds
    # A slow locator keeps the consumer waiting, in the first layer alone.
    late = igcn.changed("engines", 1).estimate(plain)
    assert late.steps[0].cycles == entries + plain.structure.num_nodes / 64
    assert late.steps[1].cycles == slow.steps[1].cycles


# --- GCoD --------------------------------------------------------------------------------------------------


def blocks_of(graph, seed=0, kinds=3, groups=2, count=9):
    rng = np.random.default_rng(seed)
    layout = Layout.from_groups(torch.from_numpy(rng.integers(0, count, graph.num_nodes)), count)
    return Blocks(
        layout,
        torch.from_numpy(rng.integers(0, kinds, count)),
        torch.from_numpy(rng.integers(0, groups, count)),
    )


def counted(graph, blocks):
    """Entries by place, one by one."""
    place, rows = {}, graph.adjacency.looped()
    for block in range(blocks.layout.num_groups):
        low, high = blocks.layout.group_ptr[block : block + 2].tolist()
        place |= {int(node): block for node in blocks.layout.order[low:high]}
    dense, off, fetched = [0] * (int(blocks.class_of.max()) + 1), 0, set()
    for row, column in zip(rows.rows().tolist(), rows.indices.tolist(), strict=True):
        if place[row] == place[column]:
            dense[int(blocks.class_of[place[row]])] += 1
        else:
            off += 1
            if blocks.group_of[place[row]] != blocks.group_of[place[column]]:
                fetched.add(column)
    return dense, off, len(fetched)


def check_sparse_branch(graph, blocks):
    dense, off, fetched = counted(graph, blocks)
    structure = Structure.of(graph, blocks)
    count = blocks.count(structure.matrix)
    assert (count.dense.tolist(), count.off, count.fetched) == (dense, off, fetched)
    work = model_work("t", structure, [20, 8])
    gcod = load("gcod")
    (step,) = gcod.estimate(work).steps
    assert step.notes["sparse_branch_entries"] == off
    assert step.notes["sparse_branch_bytes"] == off * (4 + 4) + fetched * 8 * 4
    streaming = gcod.model_copy(update={"chip": gcod.chip.model_copy(update={"resident": False})})
    (step,) = streaming.estimate(work).steps
    assert step.traffic["sparser branch"] + step.traffic["matrix"] == off * 8 + fetched * 32 + sum(dense) * 8


@pytest.mark.parametrize("seed", range(3))
def test_bytes_of_the_sparser_branch_are_those_counted_one_by_one(seed):
    graph = power_law(60, 200, seed)
    check_sparse_branch(graph, blocks_of(graph, seed))


def test_bytes_of_the_sparser_branch_on_a_real_graph(data_folder):
    graph = dataset(f"npz:{data_folder / 'cora.npz'}").graph
    check_sparse_branch(graph, blocks_of(graph, 1))


def test_queries_and_pipelines_change_what_is_read():
    work = counts("reddit").work("reddit")
    gcod = load("gcod")

    def traffic(**changed):
        mechanism = gcod.mechanism.model_copy(update=changed)
        return gcod.model_copy(update={"mechanism": mechanism}).estimate(work).bytes

    assert traffic(query=False) > traffic()
    assert traffic(pipeline="efficiency") != traffic(pipeline="resource")
    assert traffic() == traffic(pipeline="resource")  # outputs do not fit


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=6), st.integers(1, 500))
def test_units_are_shared_out_as_well_as_whole_units_can_be(loads, units):
    cycles = heaviest_share(loads, units)
    assert cycles >= max(sum(loads) / units, 0) * (1 - 1e-9)
    assert heaviest_share(loads, units + 1) <= cycles * (1 + 1e-9)
    if len(loads) <= units:
        assert sum(math.ceil(load / (cycles * (1 + 1e-9))) for load in loads) <= units


# --- HyGCN -------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(0, 90), st.integers(1, 6), st.integers(1, 9), st.integers(0, 99))
def test_windows_load_what_sliding_by_hand_does(nodes, edges, intervals, height, seed):
    matrix = power_law(nodes, edges, seed).adjacency.looped()
    length, loaded = -(-nodes // intervals), 0
    for interval in range(intervals):
        rows = matrix.to_scipy()[interval * length : (interval + 1) * length]
        needed = sorted(set(rows.indices.tolist()))
        while needed:
            inside = [source for source in needed if source < needed[0] + height]
            loaded += inside[-1] - inside[0] + 1
            needed = needed[len(inside) :]
    assert windows_loaded(matrix, intervals, height) == loaded


def test_windows_over_random_sources_are_what_is_expected():
    rng = np.random.default_rng(0)
    graph = Graph.from_edge_index(torch.from_numpy(rng.integers(0, 4000, (2, 12000))), num_nodes=4000)
    hygcn = load("hygcn")
    mechanism = hygcn.mechanism.model_copy(update={"aggregation_bytes": 1 << 19, "input_bytes": 1 << 13})
    assert isinstance(mechanism, HyGCN)
    hygcn = hygcn.model_copy(update={"mechanism": mechanism})
    known = Structure.of(graph)
    (real,) = hygcn.estimate(model_work("t", known, [64, 16])).steps
    (expected,) = hygcn.estimate(model_work("t", Structure(4000, known.entries), [64, 16])).steps
    assert real.notes["intervals"] == expected.notes["intervals"] == 4
    assert real.notes["rows_loaded"] == pytest.approx(expected.notes["rows_loaded"], rel=0.03)


# --- GCNear ------------------------------------------------------------------------------------------------


def destinations(matrix, modules):
    """Pairs of a destination and a module that holds a neighbour of it."""
    ends = zip(matrix.rows().tolist(), matrix.indices.tolist(), strict=True)
    return {(row, column % modules) for row, column in ends}


@pytest.mark.parametrize("modules", [1, 3, 16])
def test_reads_of_modules_are_those_counted_one_by_one(modules):
    matrix = power_law(80, 300).adjacency.looped()
    pairs = {
        (row, column % modules)
        for row, column in zip(matrix.rows().tolist(), matrix.indices.tolist(), strict=True)
    }
    assert module_reads(matrix, modules) == len(pairs)


def test_reads_of_modules_on_a_real_graph(data_folder):
    matrix = dataset(f"npz:{data_folder / 'cora.npz'}").graph.adjacency.looped()
    pairs = {
        (row, column % 16)
        for row, column in zip(matrix.rows().tolist(), matrix.indices.tolist(), strict=True)
    }
    work = model_work("cora", Structure(matrix.num_rows, matrix.num_edges, matrix), [16, 16])
    (step,) = load("gcnear").estimate(work).steps
    assert step.notes["channel_rows"] == len(pairs)
    assert step.traffic["sums"] == len(pairs) * 16 * 4


def test_sums_beside_the_memory_and_exchanged_orders_save_time():
    work = graphs()["reddit"].work("reddit", hidden=256, training=True)
    gcnear = load("gcnear")

    def seconds(**changed):
        return gcnear.model_copy(
            update={"mechanism": gcnear.mechanism.model_copy(update=changed)}
        ).estimate(work).seconds  # fmt: skip

    assert seconds() < seconds(near_memory=False)
    assert seconds() < seconds(exchange=False)
    assert exchange_ratio(65755, 266144, 61278, 256) == pytest.approx(7.8, rel=0.01)


# --- GCNAX -------------------------------------------------------------------------------------------------


def test_element_counts_are_the_published_ones():
    estimate = load("gcnax").estimate(counts("pubmed").work("pubmed"))
    assert [round(step.notes["elements"]) for step in estimate.steps] == [4839367, 1041408]


def test_the_search_finds_the_tile_that_moves_least():
    gcnax = load("gcnax-search")
    assert isinstance(gcnax.mechanism, GCNAX)
    for name in ("cora", "nell"):
        work = counts(name).work(name)
        room = gcnax.mechanism.dense_bytes * 3 / 4 / 8
        found = gcnax.estimate(work)
        least = sum(step.notes["elements"] for step in found.steps)
        for columns in range(16, 200, 16):
            other = gcnax.mechanism.model_copy(
                update={"search": False, "tile_columns": columns, "tile_rows": int(room // columns)}
            )
            fixed = gcnax.model_copy(update={"mechanism": other}).estimate(work)
            assert sum(step.notes["elements"] for step in fixed.steps) >= least


# --- all of them -------------------------------------------------------------------------------------------


@st.composite
def works(draw):
    nodes = draw(st.integers(1, 10**6))
    entries = nodes + draw(st.integers(0, 10**8))
    widths = [draw(st.integers(1, 2000)), draw(st.integers(1, 256)), draw(st.integers(1, 64))]
    return model_work(
        "drawn", Structure(nodes, entries), widths, draw(st.floats(0.001, 1)),
        kind=draw(st.sampled_from(["gcn", "sage", "gin"])), hidden_density=draw(st.floats(0.1, 1)),
        training=draw(st.booleans()),
    )  # fmt: skip


@pytest.mark.parametrize("name", names())
@settings(max_examples=25)
@given(work=works(), factor=st.floats(1.0, 8.0))
def test_more_of_anything_is_never_slower(name, work: Work, factor):
    accelerator = load(name)
    before = accelerator.estimate(work)
    for field in ("chip.bandwidth_gb_per_s", "chip.macs", "chip.on_chip_bytes", "chip.clock_mhz"):
        value = getattr(accelerator.chip, field.partition(".")[2]) * factor
        after = accelerator.changed(field, value).estimate(work)
        assert after.seconds <= before.seconds * (1 + 1e-9), field
    edges = work.structure.entries - work.structure.num_nodes
    fewer = accelerator.estimate(work.narrowed(work.structure.entries - int(edges * (1 - 1 / factor))))
    assert fewer.seconds <= before.seconds * (1 + 1e-9)


@pytest.mark.parametrize("name", names())
def test_fewer_edges_of_a_real_graph_are_never_slower(data_folder, name):
    graph = dataset(f"npz:{data_folder / 'citeseer.npz'}").graph
    accelerator, before = load(name), math.inf
    for share in (1.0, 0.7, 0.3, 0.0):
        keep = torch.arange(graph.num_edges) < share * graph.num_edges
        structure = Structure.of(Graph(graph.adjacency.keep(keep), False))
        seconds = accelerator.estimate(model_work("t", structure, [64, 16, 6], 0.1)).seconds
        assert seconds <= before
        before = seconds


@pytest.mark.parametrize("name", names())
def test_units_add_up(name):
    work = counts("pubmed").work("pubmed")
    accelerator = load(name)
    found = accelerator.estimate(work)
    chip = accelerator.chip
    assert found.seconds == pytest.approx(found.cycles / (chip.clock_mhz * 1e6))
    assert 0 < found.utilisation <= 1.0 + 1e-9
    assert found.bytes == pytest.approx(sum(found.traffic.values()))
    for step in found.steps:
        assert step.cycles >= max(step.compute, step.memory) * (1 - 1e-9)
        if accelerator.fit.efficiency == 1:
            assert step.memory == pytest.approx(
                step.bytes / (chip.bandwidth_gb_per_s * 1e9) * chip.clock_mhz * 1e6
            )
    faster = accelerator.changed("clock_mhz", 2 * chip.clock_mhz).changed(
        "bandwidth_gb_per_s", 2 * chip.bandwidth_gb_per_s
    )
    if name not in ("gcnear", "gpu-rtx8000"):  # those have times of their own
        assert faster.estimate(work).seconds == pytest.approx(found.seconds / 2)
    if found.joules is not None:
        chip_joules = sum(value for use, value in found.joules.items() if use != "off chip")
        assert chip_joules == pytest.approx(chip.power_watt * found.seconds)


def test_eight_bits_move_a_quarter():
    work = counts("reddit").work("reddit")
    whole = load("hygcn").changed("index_bits", 0)
    assert whole.estimate(replace(work, bits=8)).bytes <= whole.estimate(work).bytes / 3.9
