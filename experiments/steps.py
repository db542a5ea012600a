"""The commands behind a record: run as they were, their files put in its place once they are done."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from experiments.claim import HOME, Claim, Step
from experiments.needs import missing
from experiments.runfile import data_folder
from gcnsys.errors import InputError


def run(claim: Claim, names: Sequence[str], further: Sequence[str], *, show: bool = False) -> int:
    """Run all commands of an experiment, or those that are named; returns the first bad exit code.

    Args:
        claim: whose.
        names: of commands; none: all.
        further: arguments that a command gets after its own.
        show: print the commands instead.

    Raises:
        InputError: no such command, something it needs is not there, or several commands would get the
            further arguments.
    """
    steps = [claim.step(name) for name in names] if names else list(claim.run)
    if further and len(steps) > 1:
        known = ", ".join(step.name for step in steps)
        raise InputError(
            f"{claim.name} has several commands, which would all get {shlex.join(further)}; name one of them "
            f"(python -m experiments run {claim.name} STEP -- ...): {known}"
        )
    if show:
        for step in steps:
            for command in (step.command, *step.then):
                print(f"{step.name}: OMP_NUM_THREADS={step.threads} {_shown(command, further)}")
        return 0
    for step in steps:
        why = missing(step.needs)
        if why is not None:
            raise InputError(f"{claim.name}, {step.name}: {why}")
    for step in steps:
        code = _run(claim, step, further)
        if code:
            print(f"{claim.name}, {step.name}: exit code {code}", file=sys.stderr)
            return code
    return 0


def _run(claim: Claim, step: Step, further: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix=".record-", dir=claim.folder) as out:
        environment = {**os.environ, "OMP_NUM_THREADS": str(step.threads), "GLOO_SOCKET_IFNAME": "lo"}
        for command in (step.command, *step.then):
            words = [*_filled(command, claim, Path(out)), *further]
            print(f"$ python -m {shlex.join(words)}", file=sys.stderr, flush=True)
            code = subprocess.run([sys.executable, "-m", *words], cwd=HOME.parent, env=environment).returncode
            if code:
                break
        for path in sorted(each for each in Path(out).rglob("*") if each.is_file()):
            # A claim that is not met is recorded, too: reports are whole or not there. Lines may be half.
            if code == 0 or path.suffix == ".json":
                place = claim.folder / path.relative_to(out)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, place)
                print(f"recorded: {place.relative_to(HOME.parent)}", file=sys.stderr)
    return code


def _filled(command: Sequence[str], claim: Claim, out: Path) -> list[str]:
    """The command with its folders named."""
    places = {"here": str(claim.folder), "out": str(out)}
    if any("{data}" in word for word in command):
        places["data"] = str(data_folder())
    return [word.format(**places) for word in command]


def _shown(command: Sequence[str], further: Sequence[str]) -> str:
    return " ".join(["python -m", *command, *map(shlex.quote, further)])
