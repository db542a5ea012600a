"""Names to things, plug-ins among them, and optional packages."""

import sys

import pytest

from gcnsys.errors import GcnsysError, InputError, MissingPackageError, UnknownNameError
from gcnsys.registry import Registry, require

PLUGIN = """
thing = "from a plug-in"
"""


@pytest.fixture
def colors():
    registry = Registry("color", "gcnsys.test_colors")
    registry.register("green")("built-in green")
    registry.register("blue")("built-in blue")
    return registry


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package that publishes entry points, as ``pip`` would; gone after the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(points, **modules):
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
            monkeypatch.delitem(sys.modules, name, raising=False)
        about = tmp_path / "paintbox-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: paintbox\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[gcnsys.test_colors]\n{points}\n")

    return add


def test_a_name_gives_what_was_registered(colors):
    assert colors.get("green") == "built-in green"


def test_names_are_sorted(colors):
    assert colors.names() == ["blue", "green"]


def test_registering_returns_the_thing_so_that_it_can_decorate(colors):
    @colors.register("brown")
    def brown():
        return 3

    assert brown() == 3
    assert colors.get("brown") is brown


def test_an_unknown_name_is_answered_with_the_nearest_one(colors):
    with pytest.raises(UnknownNameError, match="unknown color 'gren'; did you mean 'green'"):
        colors.get("gren")


def test_a_name_near_to_none_is_answered_with_all(colors):
    with pytest.raises(UnknownNameError, match=r"unknown color 'xyzzy'; known: blue, green$"):
        colors.get("xyzzy")


def test_the_difference_of_case_is_near(colors):
    with pytest.raises(UnknownNameError, match="did you mean 'green'"):
        colors.get("GREEN")


def test_an_unknown_name_is_bad_input_and_a_failed_lookup(colors):
    with pytest.raises(LookupError) as caught:
        colors.get("")
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 2


def test_a_name_is_taken_once(colors):
    with pytest.raises(GcnsysError, match="color 'green' is already registered"):
        colors.register("green")("another green")
    assert colors.get("green") == "built-in green"


def test_a_plugin_is_found_by_its_name(colors, install):
    install("mauve = paintbox_mauve:thing", paintbox_mauve=PLUGIN)
    assert colors.get("mauve") == "from a plug-in"


def test_a_plugin_is_imported_only_when_it_is_asked_for(colors, install):
    install("mauve = paintbox_mauve:thing", paintbox_mauve=PLUGIN)
    assert colors.names() == ["blue", "green", "mauve"]
    colors.get("green")
    assert "paintbox_mauve" not in sys.modules
    colors.get("mauve")
    assert "paintbox_mauve" in sys.modules


def test_a_broken_plugin_breaks_nothing_that_does_not_use_it(colors, install):
    install("mauve = paintbox_broken:thing", paintbox_broken="import a_package_nobody_has\n")
    assert colors.get("green") == "built-in green"


def test_a_broken_plugin_is_named_when_it_is_asked_for(colors, install):
    install("mauve = paintbox_broken:thing", paintbox_broken="import a_package_nobody_has\n")
    with pytest.raises(InputError, match=r"'paintbox_broken:thing'.*color 'mauve'.*a_package_nobody_has"):
        colors.get("mauve")


def test_a_builtin_is_not_replaced_by_a_plugin(colors, install):
    install("green = paintbox_mauve:thing", paintbox_mauve=PLUGIN)
    assert colors.get("green") == "built-in green"


def test_a_registry_without_a_group_has_no_plugins(install):
    install("mauve = paintbox_mauve:thing", paintbox_mauve=PLUGIN)
    assert Registry("color").names() == []


def test_an_optional_package_that_is_there_is_imported():
    assert require("json.decoder", extra="x", purpose="reading").JSONDecoder


def test_a_missing_package_is_named_with_its_purpose_and_the_way_to_get_it():
    message = r"drawing needs the package 'a_package_nobody_has'.*pip install 'gcnsys\[report\]'"
    with pytest.raises(MissingPackageError, match=message):
        require("a_package_nobody_has.part", extra="report", purpose="drawing")


def test_a_package_that_breaks_while_it_is_imported_says_how(install):
    raising = "raise OSError('libpaint.so is missing\\nline two')\n"
    install("mauve = paintbox_torn:thing", paintbox_torn=raising)
    with pytest.raises(MissingPackageError, match=r"\(OSError: libpaint.so is missing\)") as caught:
        require("paintbox_torn", extra="x", purpose="painting")
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, OSError)
