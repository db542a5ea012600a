"""Experiments are declared as their pages say; checks pass, are off, or say why they were not made."""

import contextlib
import importlib
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # experiments/ is not installed

from experiments import claim, needs, outcome, steps
from experiments.__main__ import main
from experiments.bench import AbsentError, Bench
from experiments.claim import Check, Claim, Step, every, named
from experiments.figures import at_least, at_most, best_of, close, left_out, near, same
from experiments.outcome import Outcome
from gcnsys.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "experiments"
PAGES = (ROOT / "README.md", HERE / "README.md", *sorted(HERE.glob("*/README.md")))
SHOWN = re.compile(r"^python -m experiments (?!-)([^#\n]*)", re.MULTILINE)

TOY = """
claim = "two and two make four"
source = "ours"
records = ["record.json"]

[check]
what = "the sum"
seconds = 1

[tolerance]
sum = 0.5

[[run]]
name = "sum"
command = ["experiments.toy.run", "--out", "{out}/record.json"]
"""
CHECK = """
import os
import subprocess
from experiments.figures import left_out, near


def check(at):
    if os.environ.get("TOY") == "hangs":
        subprocess.run(["sleep", "61.25"], start_new_session=True)
    if os.environ.get("TOY") == "dies":
        raise ValueError("no sum")
    yield near("two and two", 4, at.record("record.json")["sum"], at.within("sum"))
    yield left_out("three and three", "no threes")
"""
RUN = """
import json
import sys
from pathlib import Path

Path(sys.argv[2]).write_text(json.dumps({"sum": int(sys.argv[3])}))
sys.exit(int(sys.argv[4]))
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A copy of the experiments that holds few of them, and one more."""
    home = tmp_path / "experiments"
    shutil.copytree(HERE, home, ignore=lambda folder, names: [
        name for name in names
        if name.endswith((".png", ".pyc"))
        or (Path(folder) == HERE and (HERE / name / claim.DECLARATION).exists()
            and name not in ("published", "islands"))
    ])  # fmt: skip
    toy = home / "toy"
    toy.mkdir()
    for name, text in {
        "claim.toml": TOY,
        "check.py": CHECK,
        "run.py": RUN,
        "README.md": "**Claim.** 4",
    }.items():
        (toy / name).write_text(text)
    (toy / "record.json").write_text('{"sum": 4}')
    for module in (claim, outcome, steps):
        monkeypatch.setattr(module, "HOME", home)
    monkeypatch.setenv("GCNSYS_DATA", str(tmp_path))  # no graph is in it
    monkeypatch.delenv("TOY", raising=False)
    return home


def toy(**changes):
    return Claim(
        name="toy", claim="", source="ours", check=Check(what="", seconds=1),
        run=(Step(name="a", command=("x",)), Step(name="b", command=("x",))), **changes,
    )  # fmt: skip


def running():
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_text())
    return "\n".join(found)


# What is declared.


def test_every_folder_but_the_examples_is_declared_and_in_the_table():
    folders = {path.parent.name for path in HERE.glob("*/README.md")} - {"examples"}
    rows = dict(re.findall(r"^\| \[`(\w+)/`\]\(\w+/README\.md\) \| (.*) \|$", PAGES[1].read_text(), re.M))
    assert rows.keys() == folders
    assert {each.name: each.claim for each in every()} == rows


@pytest.mark.parametrize("each", every(), ids=lambda each: each.name)
def test_a_declaration_agrees_with_its_folder(each):
    text = each.text()
    assert text.startswith("**Claim")
    for source in each.source.split("; "):
        assert ("(ours" if source == "ours" else source.split(",")[0]) in text
    assert (each.folder / "check.py").is_file()
    for step in each.run:
        for module, *words in (step.command, *step.then):
            assert module.startswith(f"experiments.{each.name}.")
            assert (ROOT / (module.replace(".", "/") + ".py")).is_file()
            assert f"python -m {module}" in (each.folder / "README.md").read_text()
            for word in words:
                assert set(re.findall(r"{(\w+)}", word)) <= {"data", "here", "out"}
    check = (each.folder / "check.py").read_text()
    assert set(re.findall(r'within\("(\w+)"\)', check)) <= each.tolerance.keys()


def test_every_check_is_made_of_what_is_there():
    for each in every():
        if each.name == "cosearch":
            pytest.importorskip("optuna", reason="a search needs gcnsys[search]")
        assert callable(importlib.import_module(f"experiments.{each.name}.check").check)


def test_a_declaration_that_says_something_else_is_refused(tmp_path):
    (tmp_path / "claim.toml").write_text(TOY.replace("source", "sauce"))
    with pytest.raises(InputError, match=r"claim\.toml: source: Field required"):
        claim.read(tmp_path)
    (tmp_path / "claim.toml").write_text("claim =")
    with pytest.raises(InputError, match=r"claim\.toml: Invalid value"):
        claim.read(tmp_path)


def test_the_list_is_a_table_or_one_object(capsys):
    assert main(["list"]) == 0
    table = capsys.readouterr().out
    assert all(each.name in table for each in every())
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["experiments"]
    assert [each["name"] for each in listed] == [each.name for each in every()]
    assert all(each["text"] and each["check"]["what"] for each in listed)


# Figures and outcomes.


def test_figures_are_good_within_what_is_allowed():
    good = [
        same("", [1], [1]),
        near("", 1, 2, 1),
        close("", 9, 10, 0.1),
        at_least("", 1, 1),
        at_most("", 1, 1),
    ]
    bad = [
        same("", [1], [2]),
        near("", 1, 2, 0.9),
        close("", 9, 10, 0.09),
        at_least("", 0, 1),
        at_most("", 2, 1),
    ]
    assert all(figure.good is True for figure in good)
    assert all(figure.good is False for figure in bad)
    assert str(near("loss", 1.5, 2, 0.1)) == "loss: 1.5, may be off by 0.1, recorded 2"


def test_gains_are_measured_again_while_one_is_below_its_bound():
    measured = iter([{"a": 0.8, "b": 2.0}, {"a": 1.0, "b": 1.0}, {"a": 3.0, "b": 3.0}])
    a, b = best_of(lambda: next(measured), {"a": 0.9, "b": 1.5})
    assert (a.now, b.now) == (1.0, 2.0)
    assert a.good
    assert b.good
    slow = iter([{"a": 0.1}] * 2)
    (a,) = best_of(lambda: next(slow), {"a": 0.9}, first={"a": 0.2})
    assert (a.now, a.good) == (0.2, False)
    assert next(slow, None) is None


def test_a_verdict_says_what_counts():
    passed = Outcome("x", [same("a", 1, 1), left_out("b", "no b")])
    assert (passed.verdict, passed.reason()) == ("passed", "1 figures; left out: no b")
    off = Outcome("x", [same("a", 1, 1), same("b", 1, 2)])
    assert (off.verdict, off.reason()) == ("off", "b: 1, recorded 2")
    skipped = Outcome("x", [left_out("b", "no b")])
    assert (skipped.verdict, skipped.reason()) == ("skipped", "no b")
    assert Outcome("x", [same("a", 1, 1)], error="it died").verdict == "off"


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("GCNSYS_DATA", str(tmp_path))
    (tmp_path / "cora.npz").touch()
    assert needs.missing(["cora.npz"]) is None
    assert needs.missing(["cora.npz", "pubmed.npz"]) == "pubmed.npz is not in the folder of real graphs"
    assert "make_reddit60k.py" in needs.missing(["reddit60k.npz"])
    monkeypatch.setitem(needs.MODULES, "dgl", "no_such_module")
    assert needs.missing(["dgl"]) == "no_such_module is not installed: pip install 'gcnsys[dgl]'"
    monkeypatch.setattr(needs.os, "geteuid", lambda: 1000)
    assert needs.missing(["root"]).startswith("not root")
    assert needs.missing(["1000000 GiB"]).startswith("1000000 GiB of memory are needed")
    monkeypatch.setenv("GCNSYS_DATA", str(tmp_path / "nowhere"))
    assert "name their folder in GCNSYS_DATA" in needs.missing(["cora.npz"])


def test_what_one_part_of_a_check_lacks_is_left_out(tmp_path):
    at = Bench(toy(), tmp_path)

    def old_record(at):
        at.same_processor({"machine": {"processor": "an abacus"}})
        yield same("never", 1, 1)

    def all_there(at):
        yield same("a", 1, 1)

    first, second = at.parts(old_record, all_there)
    assert (first.what, first.good) == ("old record", None)
    assert first.why.startswith("recorded on another processor: an abacus, not ")
    assert second.good
    with pytest.raises(AbsentError, match=r"no record toy/x\.json; python -m experiments run toy makes it"):
        at.record("x.json")


# Checks in processes of their own.


def test_a_check_passes_and_with_another_record_it_is_off(elsewhere, capsys):
    assert main(["check", "toy"]) == 0
    line, summary = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"passed   toy +1 figures; left out: no threes \(\d+ s\)", line)
    assert summary.startswith("1 passed, 0 off, 0 skipped; ")
    (elsewhere / "toy/record.json").write_text('{"sum": 5}')
    assert main(["check", "toy", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["passed"], told["off"]) == (0, 1)
    assert told["experiments"][0]["reason"] == "two and two: 4, may be off by 0.5, recorded 5"


def test_a_check_that_dies_or_hangs_is_off(elsewhere, monkeypatch):
    (declared,) = named(["toy"])
    monkeypatch.setenv("TOY", "dies")
    died = outcome.made(declared)
    assert (died.verdict, died.reason()) == ("off", "ended with code 1: ValueError: no sum")
    monkeypatch.setenv("TOY", "hangs")
    hung = outcome.made(declared, limit=6)
    assert (hung.verdict, hung.reason()) == ("off", "did not end within 6 s")
    assert "sleep\0" + "61.25" not in running(), "what it started is still there"


def test_counts_of_islands_are_as_recorded_and_an_altered_record_is_noticed(
    data_folder, elsewhere, monkeypatch
):
    from experiments.islands import check

    monkeypatch.setattr(check, "COUNTED", ("cora",))
    monkeypatch.setenv("GCNSYS_DATA", str(data_folder))
    (declared,) = named(["islands"])
    figures = list(check.operations(Bench(declared, elsewhere)))
    assert len(figures) == 4
    assert all(figure.good for figure in figures)
    path = elsewhere / "islands/count.json"
    record = json.loads(path.read_text())
    record["count"]["cora"]["shared"]["after"] += 1
    path.write_text(json.dumps(record))
    off = [figure.what for figure in check.operations(Bench(declared, elsewhere)) if not figure.good]
    assert off == ["cora, shared: operations before and after, sums"]


# Commands behind a record.


def test_a_command_replaces_the_record_once_it_is_done(elsewhere, capfd):
    record = elsewhere / "toy/record.json"
    assert main(["run", "toy", "--", "6", "0"]) == 0
    assert json.loads(record.read_text()) == {"sum": 6}
    assert "recorded: experiments/toy/record.json" in capfd.readouterr().err
    assert main(["run", "toy", "sum", "--", "7", "1"]) == 1  # what is not as claimed is recorded, too
    assert json.loads(record.read_text()) == {"sum": 7}
    assert [path.name for path in elsewhere.joinpath("toy").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "islnds"], "unknown experiment 'islnds'; did you mean 'islands'? Known: accel, "),
        (["run", "islands", "counts"], "unknown command of islands 'counts'; did you mean 'count'? Known: "),
        (
            ["run", "islands", "--", "cora"],
            "islands has several commands, which would all get cora; name one",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1


def test_a_command_whose_needs_are_not_met_is_not_started(elsewhere, monkeypatch, capsys):
    monkeypatch.setattr(needs, "_no_gpu", lambda: "no GPU")
    assert main(["run", "published", "reddit_bns"]) == 2
    assert capsys.readouterr().err == "published, reddit_bns: no GPU\n"


def test_a_published_run_trains_on_a_stand_in_as_its_page_shows(monkeypatch, tmp_path, capsys):
    from experiments.published import run

    monkeypatch.chdir(tmp_path)
    page = (HERE / "published/README.md").read_text()
    (shown,) = re.findall(r"^python -m experiments\.published\.run ([^#\n]*--stand-in[^#\n]*)", page, re.M)
    assert run.main(shlex.split(shown)) == 0
    assert re.match(
        r"yelp_pipegcn: test 0\.\d{4}, published 0\.6527 \(PipeGCN's table", capsys.readouterr().out
    )
    assert run.main(["reddit_bsn"]) == 2
    assert "did you mean 'reddit_bns'?" in capsys.readouterr().err


def test_every_command_that_the_pages_show_runs(elsewhere, capsys):
    shown = [shlex.split(text) for page in PAGES for text in SHOWN.findall(page.read_text())]
    assert {words[0] for words in shown} == {"list", "run", "check"}
    done = []
    for words in shown:
        if words[0] == "run" and "--show" not in words:
            words.insert(words.index("--") if "--" in words else len(words), "--show")
        if words in done:
            continue
        done.append(words)
        known = every() if words[0] == "check" else []
        left = [name for name in words[1:] if name not in {each.name for each in known}]
        if words[0] == "check" and left:  # not in this copy: the name is known, its check has tests elsewhere
            assert all((HERE / name / "claim.toml").exists() for name in left)
        elif words[0] == "run" and not (elsewhere / words[1]).exists():
            assert (HERE / words[1] / "claim.toml").exists()
        else:
            assert main(words) == 0, (words, capsys.readouterr())
    # ``check`` without a name was among them: every published run file has trained on its stand-in.
    said = capsys.readouterr().out
    assert re.search(r"^passed   published +40 figures; left out: no record published", said, re.M)
    assert re.search(r"^skipped  islands +cora.npz is not in the folder of real graphs", said, re.M)
