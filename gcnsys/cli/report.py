"""``gcnsys report``: one page and pictures of runs, and of what was made of their graphs."""

import argparse
from pathlib import Path
from typing import Any

from gcnsys.cli.output import Output
from gcnsys.errors import InputError
from gcnsys.files import write
from gcnsys.polarize import disk
from gcnsys.polarize.figures import figures
from gcnsys.report.page import Picture, Section, rendered
from gcnsys.report.polarized import drawn
from gcnsys.report.run import begun, read_all
from gcnsys.report.sections import Makers, beside, of_islands, of_runs
from gcnsys.report.style import png

PAGE = "report.html"

EXAMPLES = """examples:
  gcnsys report runs/mine --out report
  gcnsys report runs/* islands --out report
  gcnsys report runs/* --out report --tensorboard logs"""


def add(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "report", help="a page and pictures of runs",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN",
        help="run folders, finished or going on; also folders of gcnsys islandize and polarize, and files "
        "that gcnsys estimate --json printed",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help=f"folder for {PAGE} and the pictures"
    )
    parser.add_argument(
        "--tensorboard", type=Path, metavar="DIR", help="also write every figure as logs for TensorBoard"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace, output: Output) -> dict[str, Any]:
    if options.out.exists() and not options.out.is_dir():
        raise InputError(f"{options.out} is not a folder; choose another --out")
    with output.working():
        named = dict.fromkeys(options.runs)
        others = [(path, beside(path, number, FOLDERS)) for number, path in enumerate(named, 1)]
        runs = read_all(_runs([path for path, section in others if section is None], output))
        sections = [*(of_runs(runs) if runs else ()), *(each for _, each in others if each is not None)]
        page = rendered(_title([run.name for run in runs]), sections)
    logs = []
    if options.tensorboard:
        from gcnsys.report import tensorboard

        logs = [str(path) for path in tensorboard.write(runs, options.tensorboard)]
    pictures = {options.out / f"{each.name}.png": each.png for part in sections for each in part.pictures}
    for path, content in pictures.items():
        write(path, content)
    write(options.out / PAGE, page.encode())
    output.say(f"wrote {options.out / PAGE} and {len(pictures)} pictures")
    if logs:
        output.say(f"wrote logs: tensorboard --logdir {options.tensorboard}")
    return {
        "page": str(options.out / PAGE), "pictures": [str(path) for path in pictures], "logs": logs,
        "runs": [str(run.folder) for run in runs],
    }  # fmt: skip


def _runs(folders: list[Path], output: Output) -> list[Path]:
    """Those that have recorded something; of several, others are named and left out."""
    found = [folder for folder in folders if begun(folder)]
    if not found:
        return folders
    for folder in folders:
        if folder not in found:
            output.note(f"left out {folder}: it holds no epoch of a run")
    return found


def _of_polarized(folder: Path, name: str) -> Section:
    """What ``gcnsys polarize`` left in a folder."""
    saved = disk.load(folder)
    about, division = saved.manifest, saved.division
    says = [
        f"{about.dataset}, tuned for {about.model}: {about.num_kept:,} of {about.num_edges:,} directed edges "
        f"are kept, in {division.num_subgraphs} subgraphs."
    ]
    for step, mask in saved.masks.items():
        found = figures(saved.original, division, mask)
        says.append(
            f"{step}: {found.kept:.1%} of the edges, {found.inside:.1%} of these within subgraphs; "
            f"{found.off_diagonal_reduction:.1%} of those between subgraphs went."
        )
    made = drawn(saved.original, division.layout, division.group_of, saved.masks, about.dataset)
    picture = Picture(name, f"{about.dataset}: adjacency before and after each step.", png(made), wide=True)
    return Section(name, f"Polarization of {about.dataset}", says, (), [picture])


FOLDERS: Makers = {
    "gcnsys-islands": ("islands", of_islands), "gcnsys-polarized": ("polarized", _of_polarized),
}  # fmt: skip


def _title(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} runs" if names else "gcnsys report"
