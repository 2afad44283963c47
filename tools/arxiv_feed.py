"""Reads the Atom feed of the arXiv API, which is text from outside: no entities, no DOCTYPE, everything inert."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

from ..evolution.errors import EndpointError
from ..evolution.knowledge import BODY_LIMIT, MAX_TAGS, SOURCE_LIMIT, TAG_LIMIT, TITLE_LIMIT, Knowledge, union
from ..evolution.sources import arxiv_id, canonical_source
from ..evolution.text import excerpt, inert

ATOM = "{http://www.w3.org/2005/Atom}"
ARXIV = "{http://arxiv.org/schemas/atom}"
AUTHORS_SHOWN = 6


@dataclass(frozen=True)
class Paper:
    """A paper's own words about itself."""

    number: str
    title: str
    abstract: str
    authors: tuple[str, ...]
    year: str
    categories: tuple[str, ...]
    """The primary one first."""
    doi: str | None
    """In canonical form, where the paper has appeared in a journal."""

    @property
    def knowledge(self) -> Knowledge:
        """It as an item: a line of authors, year and category, then the abstract."""
        others = len(self.authors) - AUTHORS_SHOWN
        authors = ", ".join(self.authors[:AUTHORS_SHOWN]) + (f" and {others} others" if others > 0 else "")
        head = "; ".join(part for part in (authors, self.year, self.categories[0] if self.categories else "") if part)
        return Knowledge(
            title=excerpt(self.title, TITLE_LIMIT),
            body=excerpt(f"{head}.\n{self.abstract}" if head else self.abstract, BODY_LIMIT),
            symptom="",
            sources=(f"arxiv:{self.number}", *([self.doi] if self.doi else [])),
            tags=self.categories[:MAX_TAGS],
        )


def read_feed(text: str, host: str) -> dict[str, Paper]:
    """Papers by their arXiv id. Entries without title and abstract, which say that an id is unknown, are left out.

    Args:
        host: where it comes from, for messages.

    Raises:
        EndpointError: it is no Atom feed, or one that defines entities.
    """
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise EndpointError(
            f"Expected an Atom feed from {host}, but got a document with a DOCTYPE (an HTML page, or one that defines "
            "entities), which is not read. Nothing was stored. Try again later, or paste title, abstract and source as "
            "an item."
        )
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 -- neither DOCTYPE nor entities get here
    except (ElementTree.ParseError, ValueError) as error:
        raise _no_feed(host, f"it is not XML ({excerpt(inert(str(error)), 80)})") from error
    if root.tag != f"{ATOM}feed":
        raise _no_feed(host, f"its root is {excerpt(inert(root.tag), 80)}")
    papers = [paper for entry in root.iter(f"{ATOM}entry") if (paper := _paper(entry)) is not None]
    return {paper.number: paper for paper in papers}


def _no_feed(host: str, cause: str) -> EndpointError:
    return EndpointError(
        f"Expected an Atom feed from {host}, but {cause}. Nothing was stored. Try again later, or paste title, "
        "abstract and source as an item."
    )


def _paper(entry: ElementTree.Element) -> Paper | None:
    number = arxiv_id(_words(entry.findtext(f"{ATOM}id")))
    title, abstract = _words(entry.findtext(f"{ATOM}title")), _words(entry.findtext(f"{ATOM}summary"))
    if number is None or not title or not abstract:
        return None
    terms = [*entry.findall(f"{ARXIV}primary_category"), *entry.findall(f"{ATOM}category")]
    names = [_words(author.findtext(f"{ATOM}name")) for author in entry.findall(f"{ATOM}author")]
    return Paper(
        number=number,
        title=title,
        abstract=abstract,
        authors=tuple(excerpt(name, 80) for name in names if name),
        year=_words(entry.findtext(f"{ATOM}published"))[:4],
        categories=union((tag for term in terms if (tag := excerpt(_words(term.get("term")), TAG_LIMIT))), ()),
        doi=_journal_doi(_words(entry.findtext(f"{ARXIV}doi"))),
    )


def _journal_doi(text: str) -> str | None:
    """Nothing where the author typed something else into the field."""
    found = canonical_source(f"https://doi.org/{text}") if text.startswith("10.") and " " not in text else ""
    return found if found.startswith("doi:") and len(found) <= SOURCE_LIMIT else None


def _words(text: str | None) -> str:
    """Inert, on one line: feeds break titles and abstracts anywhere."""
    return " ".join(inert(text or "").split())
