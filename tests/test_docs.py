"""The guides work when followed to the letter; the reference is whole and builds without a warning."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys

import pages
import pytest
from layers import needed
from pages import ROOT, follow

from gcnsys.runtime.rows import SAMPLERS
from gcnsys.sampling import samplers

GUIDES = sorted((ROOT / "docs").glob("*.md"))
REFERENCE = sorted((ROOT / "docs/api").glob("*.md"))


@pytest.mark.processes
@pytest.mark.full
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_works_to_the_letter_with_as_many_ranks_as_it_says(page, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "alone", list)
    test_a_guide_works_in_a_fresh_folder(page, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_works_in_a_fresh_folder(page, tmp_path, monkeypatch):
    if "torch_geometric" in page.read_text():
        needed("torch_geometric.nn")
    for registry in (SAMPLERS, samplers):  # what a page registers ends with it
        monkeypatch.setattr(registry, "_builtin", dict(registry._builtin))
    monkeypatch.chdir(tmp_path)
    follow(page, tmp_path)


def templates():
    """Every text of the package with what is put into it left open (``…``), docstrings aside."""
    found = set()
    for path in (ROOT / "gcnsys").rglob("*.py"):
        tree = ast.parse(path.read_text())
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in said:
                continue
            if isinstance(node, ast.JoinedStr):
                pieces = [piece.value if isinstance(piece, ast.Constant) else "…" for piece in node.values]
                found.add("".join(pieces))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.sub(r"%[sd]", "…", node.value))
    return found


def quoted():
    """The messages of the troubleshooting page."""
    text = (ROOT / "docs/troubleshooting.md").read_text()
    return re.findall(r"^- `(.*)`$", text, re.MULTILINE)


def is_said(message, texts):
    """Whether some text has these fixed words, beginning and end included; ``…: `` may come before."""
    pieces = [re.escape(piece) for piece in message.removeprefix("…: ").split("…")]
    pattern = re.compile("(…: )?" + ".*".join(pieces))
    return any(pattern.fullmatch(text) for text in texts)


def test_every_message_that_troubleshooting_quotes_exists():
    texts, messages = templates(), quoted()
    assert len(messages) > 80
    missing = [message for message in messages if not is_said(message, texts)]
    assert not missing, "\n".join(missing)


def test_a_message_whose_words_changed_is_noticed():
    texts = {"…: array … is missing; found …"}
    assert is_said("…: array … is missing; found …", texts)
    assert not is_said("…: array … is missing; there are …", texts)
    assert not is_said("…: array … is missing", texts)


def public():
    """Every module that the reference documents, with its public names."""
    for page in REFERENCE:
        for name in re.findall(r"automodule:: (\S+)", page.read_text()):
            module = importlib.import_module(name)
            own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
            yield module, [key for key in getattr(module, "__all__", own) if not key.startswith("_")]


def test_every_public_package_has_a_page():
    shown = {module.__name__ for module, _ in public()}
    for path in sorted((ROOT / "gcnsys").glob("*/__init__.py")):
        name = f"gcnsys.{path.parent.name}"
        assert name in shown or not hasattr(importlib.import_module(name), "__all__"), name


def test_every_name_of_the_package_itself_is_on_its_page():
    page = (ROOT / "docs/api/gcnsys.md").read_text()
    for name in importlib.import_module("gcnsys").__all__:
        assert f"| `gcnsys.{name}` |" in page, name


def test_every_public_class_and_function_says_what_it_is():
    for module, names in public():
        for name in names:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                text = value.__doc__ or ""  # dataclasses and NamedTuples without one show their fields
                assert text, f"{module.__name__}.{name}"
                assert not text.startswith(f"{name}("), f"{module.__name__}.{name}"


@pytest.mark.processes
def test_guides_and_reference_build_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="the reference is built with gcnsys[docs]")
    told = ["-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *told, ROOT / "docs", tmp_path / "html"], cwd=ROOT, env=os.environ,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html/api/runtime.html").read_text()
    assert 'id="gcnsys.runtime.rows.BoundarySampler.draw"' in page
    assert 'id="gcnsys.train.RunConfig"' in (tmp_path / "html/api/train.html").read_text()
    assert 'href="../writing-a-layer.html' in (tmp_path / "html/api/gcnsys.html").read_text()
    for guide in GUIDES:  # links to files beside docs/, from docs/_build/html
        text = (tmp_path / "html" / f"{guide.stem}.html").read_text()
        for target in re.findall(r'href="../../../([^"#]*)', text):
            assert (ROOT / target).exists(), (guide, target)
