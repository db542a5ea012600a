"""``gcnsys report``: its page stands alone, and runs may lack something."""

import base64
import html
import json
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gcnsys.cli.main import run
from gcnsys.report.curves import best_so_far, curves, time_to, time_to_score
from gcnsys.report.run import Run, read_all
from gcnsys.report.tables import settings

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

PNG = b"\x89PNG\r\n\x1a\n"
SCORES = [0.3, 0.2, 0.5, 0.45, 0.6]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GCNSYS_PARTITIONS", raising=False)


def made_run(folder, *, scores=SCORES, finished=True, data="npz:g.npz", ranks=3, **changes):
    """A run's folder whose figures are known."""
    folder.mkdir(parents=True)
    lines = []
    for epoch, score in enumerate(scores):
        record = {"epoch": epoch, "loss": 2.0 / (epoch + 1), "seconds": 0.5, "compute_seconds": 0.3,
                  "comm_seconds": 0.15, "reduce_seconds": 0.05}  # fmt: skip
        if score is not None:
            record |= {"train_acc": score + 0.1, "val_acc": score, "test_acc": score - 0.1}
        lines.append(json.dumps(record))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "config.toml").write_text(
        f'data = "{data}"\nmodel = "gcn"\nhidden = {changes.pop("hidden", 64)}\n'
    )
    summary = {
        "dataset": "made", "model": "gcn", "method": "vanilla", "parts": ranks, "epochs": len(scores),
        "best_val_acc": 0.6, "test_acc_at_best_val": 0.5, "final_loss": 0.4, "epoch_seconds_median": 0.5,
        "bytes_sent_per_epoch": [4_000_000] * ranks, "peak_rss_bytes": [2**28] * ranks,
        "exchange_buffer_bytes": [2**20] * ranks, "seconds_total": 3.0, "kernels": "native", "seed": 7,
        "versions": {"torch": "2.13.0"},
        "seconds_by_rank": {kind: [s + r / 10 for r in range(ranks)] for kind, s in
                            (("compute", 0.3), ("comm", 0.15), ("reduce", 0.05))},
        "halo_bytes_sent_to_per_epoch": [[10**6 * (r != s) for r in range(ranks)] for s in range(ranks)],
    }  # fmt: skip
    summary = {key: value for key, value in (summary | changes).items() if value is not None}
    if finished:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


class Page(HTMLParser):
    """What a page holds and where it points."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.pictures, self.points, self.words = [], [], [], [], []
        self.feed(text)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append(tag)
        self.ids += [named["id"]] if "id" in named else []
        self.pictures += [named] if tag == "img" else []
        self.points += [value for key, value in attrs if key in ("src", "href", "action", "data", "srcset")]

    def handle_data(self, data):
        self.words.append(data)


def reported(capsys, *arguments):
    """What the command says of what it wrote, and the page."""
    code = run(["report", *map(str, arguments), "--out", "out", "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    told = json.loads(said.out)
    return told, Page(Path(told["page"]).read_text(encoding="utf-8"))


def refused(capsys, *arguments):
    code = run(["report", *map(str, arguments)])
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    return said.err


def test_the_page_stands_alone_and_shows_every_picture_that_was_written(capsys, tmp_path):
    told, page = reported(capsys, made_run(tmp_path / "a"), made_run(tmp_path / "b", hidden=16))
    assert {"loss-by-epoch", "loss-by-time", "score-by-epoch", "score-by-time", "time-to-accuracy", "ranks-1",
            "ranks-2", "memory-1", "memory-2", "traffic-1", "traffic-2"} == {
        name.split("/")[-1].removesuffix(".png") for name in told["pictures"]
    }  # fmt: skip
    shown = [base64.b64decode(each["src"].partition("data:image/png;base64,")[2]) for each in page.pictures]
    assert shown == [(tmp_path / name).read_bytes() for name in told["pictures"]]
    assert all(each.startswith(PNG) for each in shown)
    assert all(len(each["alt"]) > 10 for each in page.pictures)
    assert not {"script", "iframe", "object", "embed", "base"} & set(page.tags)
    for point in page.points:
        assert point.startswith("data:") or point.removeprefix("#") in page.ids, point
    assert "url(" not in (tmp_path / "out/report.html").read_text()
    assert {"0.6000", "7", "2.13.0"} <= set(page.words)


def test_names_from_folders_and_files_are_text_and_no_markup(capsys, tmp_path):
    made_run(tmp_path / "<i>&run", data="<script>alert(1)</script>")
    _, page = reported(capsys, tmp_path / "<i>&run")
    assert {"i", "script"}.isdisjoint(page.tags)
    assert "<i>&run" in page.text
    assert "<script>alert(1)</script>" in page.text


def test_times_are_those_of_the_first_epoch_that_was_good_enough(tmp_path):
    known = Run.read(made_run(tmp_path / "a", scores=[0.3, None, 0.5, 0.45, 0.6]))
    assert best_so_far(known) == [(0.5, 1, 0.3), (1.5, 3, 0.5), (2.0, 4, 0.5), (2.5, 5, 0.6)]
    assert time_to(known, 0.3) == (0.5, 1)
    assert time_to(known, 0.48) == (1.5, 3)
    assert time_to(known, 0.61) is None
    worse = Run.read(made_run(tmp_path / "b", scores=[0.1, 0.55]))
    table, _ = time_to_score([known, worse])
    assert table.columns == ["run", "0.4800", "0.5400", "0.5700", "0.5940", "0.6000"]
    assert table.rows[1] == ["b", "1 (2)", "1 (2)", *["not reached"] * 3]
    negative = Run.read(made_run(tmp_path / "c", scores=[-2.0, -1.0]))  # R² may be
    assert time_to_score([negative])[0].rows == [["c", "1 (2)"]]


def test_settings_that_differ_come_first(tmp_path):
    runs = read_all([made_run(tmp_path / "a"), made_run(tmp_path / "b", hidden=16)])
    differing, same = settings(runs)
    assert differing.rows == [["hidden", "64", "16"]]
    assert ["model", "gcn"] in same.rows
    assert settings(runs[:1])[0].columns == ["setting", "value"]


def test_runs_of_one_name_are_told_apart(tmp_path):
    runs = read_all([made_run(tmp_path / "one/run"), made_run(tmp_path / "two/run")])
    assert [each.name for each in runs] == [str(tmp_path / "one/run"), str(tmp_path / "two/run")]


def test_a_run_that_goes_on_is_drawn_as_far_as_it_is_known(capsys, tmp_path):
    folder = made_run(tmp_path / "going", finished=False, scores=[None, None])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lo')
    told, page = reported(capsys, folder)
    names = [path.rpartition("/")[2] for path in told["pictures"]]
    assert "ranks.png" in names
    assert {"memory.png", "traffic.png", "time-to-accuracy.png"}.isdisjoint(names)
    for sentence in (
        "Not finished",
        "No evaluation was recorded",
        "Memory is known of finished runs",
        "not recorded",
    ):
        assert sentence in page.text


def test_without_bytes_by_receiver_the_partitioning_tells_rows_if_it_is_still_the_same(capsys, tmp_path):
    write_graph()
    assert run(["partition", "build", "npz:g.npz", "--parts", "3", "--out", "cut"]) == 0
    capsys.readouterr()
    folder = made_run(tmp_path / "old", data="cut", halo_bytes_sent_to_per_epoch=None, seconds_by_rank=None)
    told, page = reported(capsys, folder)
    assert "out/traffic.png" in told["pictures"]
    seen = " ".join(each["alt"] for each in page.pictures)
    assert "boundary rows of the partitioning; bytes were not recorded" in seen
    assert "Of rank 0 alone" in page.text
    assert "train balance" in page.text
    again = made_run(
        tmp_path / "other", data="cut", halo_bytes_sent_to_per_epoch=None, partitioning="another"
    )
    told, page = reported(capsys, again)
    assert "out/traffic.png" not in told["pictures"]
    assert "cut was cut again after the run" in page.text


def write_graph(num_nodes=60):
    rng = np.random.default_rng(0)
    np.savez(
        "g.npz", edge_index=rng.integers(0, num_nodes, (2, 5 * num_nodes)),
        x=rng.standard_normal((num_nodes, 8)).astype(np.float32), y=rng.integers(0, 4, num_nodes),
    )  # fmt: skip


def test_islands_and_estimates_lie_beside_runs(capsys, tmp_path):
    write_graph()
    assert run(["islandize", "npz:g.npz", "--out", "found"]) == 0
    capsys.readouterr()
    assert run(["estimate", "npz:g.npz", "--accelerator", "awb-gcn,hygcn", "--json"]) == 0
    (tmp_path / "estimates.json").write_text(capsys.readouterr().out)
    told, page = reported(capsys, made_run(tmp_path / "a"), "found", "estimates.json")
    assert {"out/islands-2.png", "out/estimates-3.png"} <= set(told["pictures"])
    assert {"islands-2", "estimates-3"} <= set(page.ids)
    assert "hubs of 60 nodes" in page.text
    assert "awb-gcn" in page.words
    told, _ = reported(capsys, "found")
    assert told["runs"] == []


def test_a_polarized_graph_lies_beside_runs(capsys):
    few = ("--epochs", "3", "--pretrain", "3", "--rounds", "1", "--no-reference", "--out", "found")
    assert run(["polarize", "digits", *few]) == 0
    capsys.readouterr()
    told, page = reported(capsys, "found")
    assert told["pictures"] == ["out/polarized-1.png"]
    assert "in 18 subgraphs" in page.text
    assert "of those between subgraphs went" in page.text


def _no_epoch(folder):
    (folder / "metrics.jsonl").write_text("")


def _damaged_line(folder):
    (folder / "metrics.jsonl").write_text('{"epoch": 0, "seconds": 1}\n{}\n')


def _damaged_summary(folder):
    (folder / "summary.json").write_text("{")


def _no_summary(folder):
    (folder / "summary.json").write_text("[]")


def _short_summary(folder):
    kept = json.loads((folder / "summary.json").read_text())
    del kept["peak_rss_bytes"]
    (folder / "summary.json").write_text(json.dumps(kept))


def _damaged_settings(folder):
    (folder / "config.toml").write_text("= 1")


def _no_settings(folder):
    (folder / "config.toml").unlink()


def _no_run(folder):
    (folder / "metrics.jsonl").unlink()


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (_no_epoch, "no epoch was recorded yet"),
        (_damaged_line, "line 1 is not the record of an epoch"),
        (_damaged_summary, "config.toml or summary.json was altered"),
        (_no_summary, "dataset is missing"),
        (_short_summary, "peak_rss_bytes is missing"),
        (_damaged_settings, "config.toml or summary.json was altered"),
        (_no_settings, "No such file"),
        (_no_run, "not a run's folder"),
    ],
)
def test_a_folder_that_cannot_be_read_is_named_and_nothing_is_written(capsys, tmp_path, harm, sentence):
    good, bad = made_run(tmp_path / "good"), made_run(tmp_path / "bad")
    harm(bad)
    # Beside a run, a folder that has recorded nothing is left out.
    runs = [bad] if harm in (_no_epoch, _no_run) else [good, bad]
    said = refused(capsys, *runs, "--out", "out")
    assert sentence in said
    assert "bad" in said
    assert not (tmp_path / "out").exists()


def test_other_things_are_refused_with_what_they_are(capsys, tmp_path):
    write_graph()
    assert run(["partition", "build", "npz:g.npz", "--parts", "2", "--out", "cut"]) == 0
    capsys.readouterr()
    assert "a folder of gcnsys-partitioning" in refused(capsys, "cut", "--out", "out")
    assert "not what gcnsys estimate --json prints" in refused(capsys, "g.npz", "--out", "out")
    (tmp_path / "e.json").write_text('{"work": 1, "estimates": {}}')
    assert "not what gcnsys estimate --json prints" in refused(capsys, "e.json", "--out", "out")
    assert "is not a folder" in refused(capsys, made_run(tmp_path / "a"), "--out", "g.npz")


def test_logs_for_tensorboard_need_its_package(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    folder = made_run(tmp_path / "a")
    sentence = "needs the package 'tensorboard'"
    assert sentence in refused(capsys, folder, "--out", "out", "--tensorboard", "logs")
    assert not (tmp_path / "out").exists()


def test_logs_for_tensorboard_hold_every_figure_of_every_epoch(capsys, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = made_run(tmp_path / "a")
    for _ in range(2):  # a second time replaces the first
        told, _ = reported(capsys, folder, "--tensorboard", "logs")
    (log,) = told["logs"]
    read = accumulator.EventAccumulator(log)
    read.Reload()
    assert [(each.step, round(each.value, 6)) for each in read.Scalars("val_acc")] == list(
        enumerate(SCORES, 1)
    )
    assert [each.wall_time for each in read.Scalars("loss")] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5])


def test_a_run_of_ones_own_is_reported_whole(capsys, tmp_path):
    write_graph()
    assert run(["train", "npz:g.npz", "--epochs", "3", "--out", "run"]) == 0
    capsys.readouterr()
    told, page = reported(capsys, "run")
    assert "run: one part, so nothing crosses." in page.text
    assert set(tomllib.loads((tmp_path / "run/config.toml").read_text())) <= set(page.words)
    assert len(told["pictures"]) == 7


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
LOOK = """<script>addEventListener("load", () => parent.postMessage(JSON.stringify({
  pictures: [...document.images].map(each => [each.complete, each.naturalWidth, each.clientWidth]),
  width: innerWidth, needed: document.documentElement.scrollWidth,
  asked: performance.getEntriesByType("resource").filter(each => !each.name.startsWith("data:")).length
}), "*"))</script></body>"""
FRAME = """<!DOCTYPE html><title>frame</title><script>
addEventListener("message", said => { document.documentElement.dataset.seen = said.data })
</script><iframe src="PAGE" width="WIDTH" height="1500" style="border: 0"></iframe>"""


def browsed(folder, page, width, *options):
    """What a browser with a new profile prints of a page so wide, and what it complains of.

    Browsers have a least width: the page lies in a frame.
    """
    frame = folder / f"frame-{page.stem}-{width}.html"
    frame.write_text(FRAME.replace("PAGE", page.as_uri()).replace("WIDTH", str(width)))
    profile = f"--user-data-dir={folder}/profile-{page.stem}-{width}"
    log = ("--enable-logging=stderr", "--virtual-time-budget=5000", f"--window-size={width + 40},1600")
    command = [BROWSER, *QUIET, profile, *log, *options, frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_every_picture_without_complaint_at_any_width(capsys, tmp_path, width):
    told, page = reported(capsys, made_run(tmp_path / "a"), made_run(tmp_path / "b", hidden=16))
    path = tmp_path / told["page"]
    shot = tmp_path / f"shot-{width}.png"
    _, complaints = browsed(tmp_path, path, width, f"--screenshot={shot}")
    assert complaints == []
    assert shot.read_bytes().startswith(PNG)
    looked_at = tmp_path / "looked-at.html"  # the page itself lets no script run
    text = re.sub(r"<meta http-equiv=[^>]*>", "", path.read_text(encoding="utf-8"))
    looked_at.write_text(text.replace("</body>", LOOK), encoding="utf-8")
    dom, complaints = browsed(tmp_path, looked_at, width, "--dump-dom")
    assert complaints == []
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', dom)[1]))
    assert seen["width"] == width
    assert seen["needed"] <= width  # tables scroll in frames of their own
    assert len(seen["pictures"]) == len(page.pictures) == len(told["pictures"])
    assert all(done and natural > 500 and shown > 250 for done, natural, shown in seen["pictures"])
    assert seen["asked"] == 0


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
def test_the_browser_would_tell_of_a_complaint(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<!DOCTYPE html><title>bad</title><script>console.error('here')</script>")
    assert browsed(tmp_path, bad, 390, "--dump-dom")[1]


def test_of_several_folders_those_that_are_no_runs_are_named_and_left_out(capsys, tmp_path):
    made_run(tmp_path / "runs/a")
    (tmp_path / "runs/search").mkdir()
    (tmp_path / "runs/b").mkdir()
    (tmp_path / "runs/b/metrics.jsonl").touch()
    assert run(["report", "runs/a", "runs/b", "runs/search", "--out", "page", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["runs"] == ["runs/a"]
    for name in ("b", "search"):
        assert f"left out runs/{name}: it holds no epoch of a run" in said.err
    assert "not a run's folder" in refused(capsys, "runs/search", "--out", "other")


def test_names_of_runs_are_text_in_pictures_as_well(tmp_path, monkeypatch):
    for name in ("_base", "cost$5$x", "a$b"):
        made_run(tmp_path / name)
    runs = read_all([tmp_path / name for name in ("_base", "cost$5$x", "a$b")])
    assert [run.label for run in runs] == [" _base", r"cost\$5\$x", r"a\$b"]
    drawn = []
    monkeypatch.setattr("gcnsys.report.curves.png", lambda made: drawn.append(made) or b"")
    curves(runs)
    for made in drawn:
        legends = made.legends or [axis.get_legend() for axis in made.axes]
        (texts,) = ([text.get_text() for text in legend.get_texts()] for legend in legends)
        assert texts == [run.label for run in runs]
