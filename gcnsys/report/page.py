"""A page that opens anywhere: all pictures are in it, and it asks nobody for anything."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from gcnsys import __version__
from gcnsys.registry import require


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a page.

    Attributes:
        name: of its file, without ``.png``.
        says: what is to be seen, for those who cannot.
        png: its bytes.
        wide: it takes the page's width.
    """

    name: str
    says: str
    png: bytes
    wide: bool = False

    @property
    def address(self) -> str:
        return f"data:image/png;base64,{b64encode(self.png).decode()}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a page.

    Attributes:
        title: above it.
        columns: their heads.
        rows: their cells.
        words: what cells hold; else columns but the first hold figures.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page.

    Attributes:
        name: what links call it.
        title: above it.
        says: paragraphs.
        tables, pictures: in this order.
    """

    name: str
    title: str
    says: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


def rendered(title: str, sections: Sequence[Section]) -> str:
    """The page as HTML."""
    jinja = require("jinja2", extra="report", purpose="writing a page")
    made = jinja.Environment(
        autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = files("gcnsys.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
    text: str = made.from_string(template).render(title=title, sections=sections, version=__version__)
    return text
