"""The import arrows of the package, as a test."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gcnsys"

# From the bottom up. A package may import those below it, never beside or above it.
LAYERS = [
    {"errors"},
    {"registry", "files"},
    {"manifest"},
    {"graph"},
    {"kernels"},
    {"datasets"},
    {"partition", "nn", "sampling", "islands", "accel"},
    {"runtime"},
    {"train"},
    {"polarize", "report"},
    {"plan", "search"},
    {"cli"},
]
BESIDE = {"testing"}  # may import anything below cli; nothing imports it
FREE = {"__init__", "__main__"}


def imports(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found.append((node.lineno, node.module or ""))
        elif isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
    return [(line, module) for line, module in found if module.split(".")[0] == "gcnsys"]


def test_imports_follow_the_arrows():
    level = {name: height for height, names in enumerate(LAYERS) for name in names}
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if home in FREE:
            continue
        assert home in level or home in BESIDE, f"{home} has no place in the layers"
        for line, module in imports(path):
            target = module.split(".")[1] if "." in module else "__init__"
            below = target in level and (home in BESIDE or level[target] < level[home])
            if not (target == home or below or target == "__init__"):
                wrong.append(f"{path}:{line}: {home} may not import {module}")
    assert not wrong, "\n".join(wrong)


def test_every_module_says_what_it_is_for():
    for path in sorted(PACKAGE.rglob("*.py")):
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no module docstring"
