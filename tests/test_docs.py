"""The guides work when followed to the letter; the reference is whole and builds without a warning."""

import pytest
from pages import ROOT, follow

GUIDES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_works_in_a_fresh_folder(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    follow(page, tmp_path)
