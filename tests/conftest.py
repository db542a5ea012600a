"""Options and fixtures that all tests share."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # ranks are threads here: one core each is enough

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, and no example is too slow: how busy a machine is decides no test.
settings.register_profile(
    "repeatable", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also run the full products (marked 'full')")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("processes"):
            item.add_marker(pytest.mark.xdist_group("processes"))
    if config.getoption("--all"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


@pytest.fixture(autouse=True)
def _launched_from_here():
    """What launching ranks leaves in the environment is gone after the test."""
    before = os.environ.get("GCNSYS_LAUNCHER")
    yield
    if before is None:
        os.environ.pop("GCNSYS_LAUNCHER", None)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real graphs: ``GCNSYS_DATA``, or ``../shared/data`` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GCNSYS_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real graphs in {folder}; name their folder in GCNSYS_DATA")
    return folder
