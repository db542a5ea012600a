"""What came of a check; ``python -m experiments.outcome NAME FILE`` makes one in this process.

A check runs in a process of its own: its threads, its process group and what it imports are nobody else's,
and one that dies or hangs is off like any other.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.claim import HOME, Claim, named
from experiments.figures import Figure, left_out
from experiments.needs import missing


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found.

    Attributes:
        name: of the experiment.
        figures: compared, or left out.
        skipped: why nothing was compared.
        error: that ended it.
        seconds: it took.
    """

    name: str
    figures: list[Figure] = field(default_factory=list)
    skipped: str | None = None
    error: str | None = None
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """``passed``, ``off`` or ``skipped``."""
        if self.error is not None or any(figure.good is False for figure in self.figures):
            return "off"
        compared = any(figure.good for figure in self.figures)
        return "passed" if compared else "skipped"

    def reason(self) -> str:
        """The verdict's, in a line."""
        off = [figure for figure in self.figures if figure.good is False]
        if self.error is not None:
            return self.error
        if self.skipped is not None:
            return self.skipped
        compared = [figure for figure in self.figures if figure.good is not None]
        absent = list(dict.fromkeys(figure.why for figure in self.figures if figure.good is None))
        if off:
            more = f"; {len(off)} of {len(compared)} figures" if len(off) > 1 else ""
            return f"{off[0]}{more}"
        if not compared:
            return "; ".join(absent) or "nothing was compared"
        said = f"{len(compared)} figures"
        return f"{said}; left out: {'; '.join(absent)}" if absent else said

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name, "verdict": self.verdict, "reason": self.reason(),
            "seconds": round(self.seconds, 1), "figures": [figure.json() for figure in self.figures],
        }  # fmt: skip


def made(claim: Claim, limit: float | None = None) -> Outcome:
    """Make a check in a process of its own.

    Args:
        claim: whose.
        limit: seconds after which it is off (default: ten times what it usually takes, and two minutes).
    """
    why = missing(claim.check.needs)
    if why is not None:
        return Outcome(claim.name, skipped=why)
    began, limit = time.monotonic(), limit or 120 + 10 * claim.check.seconds
    with tempfile.TemporaryDirectory(prefix="gcnsys-check-") as folder:
        told, said = Path(folder) / "told.json", Path(folder) / "said"
        command = [sys.executable, "-m", "experiments.outcome", claim.name, str(told)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "TMPDIR": folder}
        with said.open("w") as out:
            # A session of its own: Ctrl-C reaches this process alone, which then ends all it has started.
            # What it says goes to a file: a pipe would stay open as long as anything writes to it.
            process = subprocess.Popen(
                command, cwd=HOME.parent, env=environment, stdout=out, stderr=out, start_new_session=True
            )
        try:
            code = process.wait(timeout=limit)
            error = None if told.exists() else _last(said.read_text(), code)
        except subprocess.TimeoutExpired:
            error = f"did not end within {limit:g} s"
        finally:
            if process.poll() is None:
                for pid in (process.pid, *below(process.pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.wait()
        figures = json.loads(told.read_text()) if told.exists() else []
    seconds = time.monotonic() - began
    return Outcome(claim.name, [Figure.of(each) for each in figures], error=error, seconds=seconds)


def below(pid: int) -> list[int]:
    """The processes that one has started, and those that they have, whatever their sessions."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def _last(said: str, code: int) -> str:
    lines = said.strip().splitlines()
    return f"ended with code {code}: {lines[-1] if lines else 'it said nothing'}"


def main() -> None:
    """Make a check here; what came of it goes to a file."""
    from experiments.bench import AbsentError, Bench

    (claim,), told = named(sys.argv[1:2]), Path(sys.argv[2])
    check = importlib.import_module(f"experiments.{claim.name}.check").check
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="gcnsys-") as work:
        try:
            for figure in check(Bench(claim, Path(work))):
                figures.append(figure)
                print(figure, flush=True)
        except AbsentError as error:
            figures.append(left_out("all else", str(error)))
    told.write_text(json.dumps([figure.json() for figure in figures]))


if __name__ == "__main__":
    main()
