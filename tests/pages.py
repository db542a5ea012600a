"""Pages of documentation as a reader follows them: what they show is written to files, run and compared."""

import contextlib
import io
import re
import runpy
import shlex
import sys
from pathlib import Path

from gcnsys.cli.main import parser, run

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# (\S+\.(?:py|toml))\n")


def blocks(page):
    """Each block of a page, in order: its language and text."""
    return [(kind, text) for _, kind, text in BLOCK.findall(page.read_text())]


def commands(text):
    """The words of each line of a ``bash`` block."""
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    return [words for words in lines if words]


def alone(words):
    """The same command on one rank: ranks are processes, which other tests start."""
    words = list(words)
    if "--parts" in words and not any("file:" in word for word in words):
        words[words.index("--parts") + 1] = "1"
    return words


def python(words, folder):
    """Run ``python FILE ...``, or each test of ``python -m pytest FILE``, in this process."""
    argv, path, modules = sys.argv, list(sys.path), set(sys.modules)
    tested = words[1:3] == ["-m", "pytest"]
    sys.argv, sys.path = words[1:], [str(folder), *sys.path]
    try:
        names = runpy.run_path(words[-1] if tested else words[1], run_name="tests" if tested else "__main__")
        tests = [value for name, value in names.items() if name.startswith("test_")] if tested else []
        assert tests or not tested, words
        for test in tests:
            test()
    finally:
        sys.argv, sys.path[:] = argv, path
        for name in set(sys.modules) - modules:
            if getattr(sys.modules[name], "__file__", None) and str(folder) in sys.modules[name].__file__:
                del sys.modules[name]


def follow(page, folder):
    """Do what a page says, in a fresh folder; returns how many commands and snippets ran."""
    names, count = {"__name__": page.stem}, 0
    for kind, text in blocks(page):
        named = NAMED.match(text)
        if kind in ("python", "toml") and named:
            (folder / named[1]).write_text(text)
        elif kind == "python":
            exec(compile(text, f"{page.name}", "exec"), names)
            count += 1
        elif kind == "bash":
            for words in commands(text):
                code, said = carry_out(words, folder)
                assert code == 0, (page.name, words, said)
                count += 1
        elif kind == "console":
            for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, expected = piece.partition("\n")
                code, said = carry_out(shlex.split(line), folder)
                for wanted in expected.splitlines():
                    pattern = ".*".join(map(re.escape, wanted.strip().split("…")))
                    assert re.search(f"^{pattern}$", said, re.MULTILINE), (page.name, line, said)
                assert code == (2 if "gcnsys: " in expected else 0), (page.name, line, said)
                count += 1
    return count


def carry_out(words, folder):
    """Run one command as far as this machine can: its exit code, and all that it said."""
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if words[0] == "gcnsys":
            code = run(alone(words)[1:])
        elif words[0] == "python":
            python(words, folder)
            code = 0
        elif "gcnsys" in words:  # a launcher of ranks
            parser().parse_args(words[words.index("gcnsys") + 1 :])
            code = 0
        else:
            code = started(words, folder)
    return code, said.getvalue()


def started(words, folder):
    """Whether a script that a command starts is there; 0 if so."""
    scripts = [word for word in words if word.endswith((".sh", ".sbatch", ".py"))]
    assert words[0] in ("bash", "sbatch", "torchrun"), words
    assert scripts, words
    assert all((ROOT / name).is_file() or (folder / name).is_file() for name in scripts), words
    return 0
