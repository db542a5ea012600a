"""How Sphinx builds the guides and the reference: ``bash launch/docs.sh``."""

import re
from importlib import import_module
from pathlib import Path

from pydantic import BaseModel

import gcnsys

project, author, release = "gcnsys", "the authors of gcnsys", gcnsys.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_parser"]
exclude_patterns = ["_build"]
html_theme, html_title = "furo", "gcnsys"
html_show_copyright = html_show_sourcelink = False
nitpicky = True  # every name that a docstring or a signature refers to exists

autodoc_default_options = {"members": True}
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields stand in the class's own table, not once more below it
python_maximum_signature_line_length = 90
myst_heading_anchors = 3
# Guides link to files beside docs/; from docs/_build/html they are three folders up.
myst_url_schemes = {"http": None, "https": None, "beside": {"url": "../../../{{path}}"}}

PAGES = sorted((Path(__file__).parent / "api").glob("*.md"))


def documented() -> dict[str, str]:
    """Where a thing is defined -> the name that the reference has it under."""
    shown = {}
    for page in PAGES:
        for module in re.findall(r"automodule:: (\S+)", page.read_text()):
            for name in getattr(import_module(module), "__all__", ()):
                value = getattr(import_module(module), name)
                if hasattr(value, "__qualname__"):
                    shown.setdefault(f"{value.__module__}.{value.__qualname__}", f"{module}.{name}")
    return shown


def found(name: str) -> bool:
    """Whether a dotted name is that of something."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:end]))
            for part in parts[end:]:
                value = getattr(value, part)
        except (ImportError, AttributeError):
            continue
        return True
    return False


def linked(app, env, node, contnode):
    """A link to where the reference has it; plain text where that leaves it out; else a warning."""
    target = node.get("reftarget", "")
    resolve = env.get_domain("py").resolve_xref
    for home, name in SHOWN.items():
        if target == home or target.startswith(f"{home}."):
            shown = name + target.removeprefix(home)
            made = resolve(env, node["refdoc"], app.builder, node["reftype"], shown, node, contnode)
            return made or contnode
    within = node.get("py:module")
    return contnode if found(target) or (within and found(f"{within}.{target}")) else None


def beside(app, docname, source):
    """Links of a guide that leave docs/ are to files, not to pages."""
    if "/" not in docname:
        source[0] = re.sub(r"\]\(\.\./", "](beside:", source[0])


def apart(app, what, name, obj, options, lines):
    """``a, b: what they are`` becomes a line each; checked settings get the lines that they have at hand."""
    if what == "class" and issubclass(obj, BaseModel) and not any(":ivar" in line for line in lines):
        said = {key: field.description for key, field in obj.model_fields.items() if field.description}
        lines += ["", *(f":ivar {key}: " + text.replace("*", r"\*") for key, text in said.items())]
    text = re.sub(
        r"^:(ivar|param) (\w+(?:, \w+)+):(.*(?:\n +.*)*)",
        lambda all_: "\n".join(f":{all_[1]} {each}:{all_[3]}" for each in all_[2].split(", ")),
        "\n".join(lines), flags=re.MULTILINE,
    )  # fmt: skip
    lines[:] = text.split("\n")


def shorter(app, what, name, obj, options, signature, returns):
    """No signature of fifty settings, whose table says more; none with what cannot be parsed."""
    if what == "class" and issubclass(obj, BaseModel):
        return "(**settings)", None
    return (signature.replace("<factory>", "..."), returns) if signature else None


SHOWN = documented()


def setup(app):
    """Hooks."""
    app.connect("missing-reference", linked)
    app.connect("source-read", beside)
    app.connect("autodoc-process-docstring", apart, priority=600)  # after napoleon
    app.connect("autodoc-process-signature", shorter)
