"""``gcnsys islandize``, and folders of islands."""

import json

import pytest
import torch

from gcnsys.cli.main import run
from gcnsys.datasets import load
from gcnsys.errors import DamagedFileError
from gcnsys.islands import disk, locate
from gcnsys.islands.plan import check, looped


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("rule", ["shared", "exact-windows", "published"])
def test_the_command_says_what_was_found_and_keeps_it(tmp_path, capsys, rule):
    assert (
        run(["islandize", "digits", "--rule", rule, "--out", "found", "--plot", "islands.png", "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    islands = locate(load("digits").graph)
    assert told["islands"] == islands.num_islands
    assert told["hubs"] + int(islands.sizes.sum()) == told["nodes"] == 1797
    assert told["operations_before"] == looped(islands.graph).num_edges
    assert told["pruned_share"] == 1 - told["operations_after"] / told["operations_before"]
    assert told["pruned_share_true_additions"] > told["pruned_share"] or rule == "published"
    assert {"singletons", "largest_island", "inter_hub_edges", "seconds"} <= set(told)
    assert (tmp_path / "islands.png").stat().st_size > 10_000
    saved = disk.load(tmp_path / "found")
    assert (saved.manifest.dataset, saved.manifest.rule) == ("digits", rule)
    assert torch.equal(saved.islands.island_of, islands.island_of)
    plan = check(saved.plan, looped(saved.islands.graph))
    assert plan.count(told["operations_before"]).after == told["operations_after"]


def test_without_json_it_says_so_in_sentences(capsys):
    assert run(["islandize", "digits", "--cap", "16", "--least", "4"]) == 0
    said = capsys.readouterr()
    assert "the largest of 16" in said.out + said.err
    assert "shared: " in said.out + said.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cap", "0"], "cap must be at least 1"),
        (["--decay", "1"], "decay must be in [0, 1)"),
        (["--least", "1"], "at least 2 rows"),
        (["--rule", "published", "--window", "1"], "at least 2 nodes"),
        (["--out", "mine"], "mine holds something else"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, capsys, words, sentence):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear me")
    assert run(["islandize", "digits", "--overwrite", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter").exists()


def test_a_folder_that_was_altered_is_refused(tmp_path):
    assert run(["islandize", "digits", "--out", "found"]) == 0
    file = tmp_path / "found" / disk.FILE
    content = bytearray(file.read_bytes())
    for place in (len(content) // 2, len(content) - 1):
        changed = content.copy()
        changed[place] ^= 1
        file.write_bytes(changed)
        with pytest.raises(DamagedFileError, match="altered since it was written"):
            disk.load(tmp_path / "found")
    file.write_bytes(content[:-8])
    with pytest.raises(DamagedFileError, match="find the islands again"):
        disk.load(tmp_path / "found")
    with pytest.raises(DamagedFileError, match="gcnsys islandize DATA --out makes one"):
        disk.load(tmp_path)
