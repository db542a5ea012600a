"""The guides work when followed to the letter; the reference is whole and builds without a warning."""

import pytest
from layers import needed
from pages import ROOT, follow

from gcnsys.runtime.rows import SAMPLERS
from gcnsys.sampling import samplers

GUIDES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_works_in_a_fresh_folder(page, tmp_path, monkeypatch):
    if "torch_geometric" in page.read_text():
        needed("torch_geometric.nn")
    for registry in (SAMPLERS, samplers):  # what a page registers ends with it
        monkeypatch.setattr(registry, "_builtin", dict(registry._builtin))
    monkeypatch.chdir(tmp_path)
    follow(page, tmp_path)
