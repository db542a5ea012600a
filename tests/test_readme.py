"""Every command and file that the documentation shows works."""

import re
import shlex
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pages
import pytest
from pages import ROOT

from gcnsys.cli.main import parser, run
from gcnsys.cli.train import EXAMPLES
from gcnsys.train import RunConfig

PAGES = [ROOT / "README.md", ROOT / "launch/README.md", ROOT / "partitions/README.md"]
GUIDES = sorted((ROOT / "docs").glob("*.md"))  # followed in test_docs.py


def blocks(language):
    return [text for page in PAGES for kind, text in pages.blocks(page) if kind == language]


def commands():
    return [words for text in blocks("bash") for words in pages.commands(text)]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with the files that the README speaks of."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez(
        "mine.npz",
        edge_index=rng.integers(0, 60, (2, 300)),
        x=rng.standard_normal((60, 8)).astype(np.float32),
        y=rng.integers(0, 4, 60),
    )
    (run_file,) = blocks("toml")
    Path("run.toml").write_text(run_file.replace("parts = 2", "parts = 1"))
    return tmp_path


def test_the_readme_shows_commands():
    assert len(commands()) >= 10


def test_every_gcnsys_command_of_the_documentation_runs_in_order(mine, capsys):
    shown = [words for words in commands() if words[0] == "gcnsys"]
    assert len(shown) >= 8
    for words in shown:
        if "runs/*" in words:
            at = words.index("runs/*")
            words[at : at + 1] = sorted(map(str, Path("runs").iterdir()))
        code = run(pages.alone(words)[1:])
        assert code == 0, (words, capsys.readouterr().err)
    assert (mine / "parts.png").exists()


def test_every_torchrun_command_of_the_documentation_parses():
    lines = [words for words in commands() if words[0] == "torchrun" or "launch/emulated_cluster.sh" in words]
    lines += [shlex.split(line) for line in EXAMPLES.splitlines() if "torchrun" in line]
    assert lines
    for words in lines:
        parser().parse_args(words[words.index("gcnsys") + 1 :])


def test_every_script_the_documentation_names_is_there():
    named = {word for page in [*PAGES, *GUIDES] for word in re.findall(r"launch/\w+\.\w+", page.read_text())}
    assert named
    for name in named:
        assert (ROOT / name).is_file(), name


def test_every_link_of_the_documentation_leads_somewhere():
    for page in [*PAGES, *GUIDES]:
        for target, anchor in re.findall(r"\]\(([^)#]+)(#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                path = page.parent / target
                assert path.exists(), (page, target)
                assert not anchor or anchor[1:] in headings(path), (page, target, anchor)


def headings(page):
    """What GitHub calls the headings of a page in links."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


def test_the_run_file_of_the_readme_is_checked():
    for text in blocks("toml"):
        RunConfig.checked(tomllib.loads(text))


@pytest.mark.parametrize("script", sorted((ROOT / "launch").glob("*.s*")), ids=lambda path: path.name)
def test_every_script_is_a_page_of_valid_shell(script):
    assert len(script.read_text().splitlines()) <= 60
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize(
    "script", ["torchrun_single_node.sh", "torchrun_multi_node.sh", "emulated_cluster.sh"]
)
def test_scripts_without_arguments_say_how_they_are_called(script):
    done = subprocess.run(["bash", str(ROOT / "launch" / script)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.processes
def test_two_launchers_train_together_as_two_machines_would(mine):
    assert run(["partition", "build", "npz:mine.npz", "--parts", "4", "--out", "four"]) == 0
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "2",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-id", "test",
        "-m", "gcnsys", "train", "four", "--epochs", "3", "--out", "run",
    ]  # fmt: skip
    launchers = [
        subprocess.Popen([*command[:3], "--local-addr", "127.0.0.1", *command[3:]], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip
    ended = [launcher.communicate(timeout=120) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], ended
    assert (mine / "run/summary.json").exists()
