"""Accelerators as files: every number has a source, and what is wrong is named."""

import tomllib

import pytest

from gcnsys.accel import Accelerator, counts, load, names
from gcnsys.accel.here import measured
from gcnsys.accel.sweep import Sweep
from gcnsys.errors import InputError

GOOD = """
name = "mine"
[chip]
macs = 64
clock_mhz = 200
on_chip_bytes = 1e6
bandwidth_gb_per_s = 10
[mechanism]
kind = "awb-gcn"
hops = 1
remapping = 2
[sources]
"chip.macs" = "me"
"chip.clock_mhz" = "me"
"chip.on_chip_bytes" = "me"
"chip.bandwidth_gb_per_s" = "me"
"mechanism.hops" = "me"
"mechanism.remapping" = "me"
"""


@pytest.mark.parametrize("name", names())
def test_every_accelerator_loads_and_estimates(name):
    accelerator = load(name)
    assert accelerator.name == name
    assert accelerator.summary
    estimate = accelerator.estimate(counts("cora").work("cora"))
    assert 0 < estimate.seconds < 1
    assert estimate.factor >= 1


def test_a_file_of_ones_own_is_an_accelerator(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    mine = load(str(path))
    assert mine.estimate(counts("cora").work("cora")).factor == 2  # nobody has validated it
    again = Accelerator.checked(mine.model_dump(exclude_unset=True), "again")
    assert again == mine


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("macs = 64", "macs = -64", "chip.macs: input should be greater than 0, got -64"),
        ("macs = 64", 'macs = "many"', "chip.macs: .* got 'many'"),
        ("macs = 64", "mcas = 64", "unknown field of chip 'mcas'; did you mean 'macs'"),
        ("macs = 64", "", "chip.macs: is missing"),
        ("[chip]", "[chips]\n[chip]", "unknown field 'chips'; did you mean 'chip'"),
        ("hops = 1", "hops = 1\nhoops = 2", "unknown field of mechanism 'hoops'; did you mean 'hops'"),
        ("hops = 1", "hops = 0.5", "mechanism.hops: .*got 0.5"),
        (
            'kind = "awb-gcn"',
            'kind = "agb-gcn"',
            "unknown kind of mechanism 'agb-gcn'; did you mean 'awb-gcn'",
        ),
        ('kind = "awb-gcn"', "", "mechanism.kind: is missing; known: awb-gcn"),
        ('"chip.macs" = "me"', "", "sources: chip.macs has no source"),
        ('"chip.macs" = "me"', '"chip.macs" = "me"\n"chip.power_watt" = "me"', "chip.power_watt is no field"),
        ("[chip]", "[chip", "not TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, before, after, sentence):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(InputError, match=sentence) as raised:
        load(str(path))
    assert str(raised.value).startswith(str(path))


def test_a_file_that_is_not_there_and_a_name_that_nobody_knows(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load(str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match=r"did you mean 'hygcn'"):
        load("hygnc")


def test_a_changed_field_is_checked_and_called_what_if():
    awb = load("awb-gcn")
    assert awb.changed("macs", 100).chip.macs == awb.changed("chip.macs", 100).chip.macs == 100
    assert awb.changed("hops", 2.0).mechanism.hops == 2
    assert awb.changed("macs", 100).sources["chip.macs"] == "what if"
    with pytest.raises(InputError, match=r"did you mean 'chip\.macs'"):
        awb.changed("mac", 1)
    with pytest.raises(InputError, match=r"awb-gcn: chip\.macs"):
        awb.changed("macs", 0)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("macs=1024..16384", (1024, 2048, 4096, 8192, 16384)),
        ("macs=10..20/3", (10, 14, 20)),
        ("bandwidth_gb_per_s=0.5..2", (0.5, 1, 2)),
        ("macs=7,3,3", (3, 7)),
        ("macs=8..8", (8,)),
    ],
)
def test_a_sweep_is_a_field_and_values(text, values):
    sweep = Sweep.parse(text)
    assert sweep.values == pytest.approx(values)
    assert sweep.field == text.partition("=")[0]


@pytest.mark.parametrize(
    "text", ["macs", "=1..2", "macs=", "macs=2..1", "macs=0..4", "macs=1..2/1", "macs=a..b"]
)
def test_what_is_no_sweep_is_refused(text):
    with pytest.raises(InputError, match=r"needs field=low\.\.high"):
        Sweep.parse(text)


def test_a_sweep_gives_an_estimate_a_value():
    line = Sweep.parse("macs=1024..4096").run(load("gcod"), counts("cora").work("cora"))
    assert [value for value, _ in line] == [1024, 2048, 4096]
    assert line[0][1].seconds > line[1][1].seconds > line[2][1].seconds


def test_this_machine_is_an_accelerator_too():
    here = measured()
    assert here.chip.macs_per_second > 1e8
    assert here.chip.bandwidth_gb_per_s > 0.1
    assert here.estimate(counts("cora").work("cora")).seconds > 0


def test_files_hold_nothing_that_is_not_read():
    from gcnsys.accel.accelerator import _folder

    for entry in _folder().iterdir():
        values = tomllib.loads(entry.read_text())
        assert set(values) <= {"name", "summary", "scale", "chip", "mechanism", "fit", "sources"}, entry
        assert all(source.strip() for source in values["sources"].values())
