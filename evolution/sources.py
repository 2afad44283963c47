"""Where knowledge comes from: one way to write an arXiv id, a DOI or a URL, however it was given."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from .errors import BadInput

_MONTH = "(?:0[1-9]|1[0-2])"
# Archives of before April 2007: their ids were archive/YYMMNNN, sometimes with a subject class that is not part of it.
_ARCHIVES = (
    "acc-phys|adap-org|alg-geom|ao-sci|astro-ph|atom-ph|bayes-an|chao-dyn|chem-ph|cmp-lg|comp-gas|cond-mat|cs|dg-ga|"
    "funct-an|gr-qc|hep-ex|hep-lat|hep-ph|hep-th|math|math-ph|mtrl-th|nlin|nucl-ex|nucl-th|patt-sol|physics|plasm-ph|"
    "q-alg|q-bio|quant-ph|solv-int|supr-con"
)
_ARXIV = re.compile(
    r"(?:(?:https?://)?(?:www\.|export\.)?arxiv\.org/(?:abs|pdf|html|format|e-print)/|arxiv\s*:\s*"
    r"|(?:(?:https?://)?(?:dx\.|www\.)?doi\.org/|doi\s*:\s*)?10\.48550/arxiv\.)?"
    rf"(?:(?P<new>\d\d{_MONTH}\.\d{{4,5}})|(?P<archive>{_ARCHIVES})(?:\.[a-z]{{2}})?/(?P<number>\d\d{_MONTH}\d{{3}}))"
    r"(?:v\d+)?(?:\.pdf)?/?(?:[?#]\S*)?",
    re.IGNORECASE | re.ASCII,
)
_DOI = re.compile(
    r"(?P<url>(?:https?://)?(?:dx\.|www\.)?doi\.org/)?(?:doi\s*:\s*)?(?P<doi>10\.\d{4,9}(?:\.\d+)*/\S+)",
    re.IGNORECASE | re.ASCII,
)
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_CLAIMS = re.compile(r"arxiv\s*:|doi\s*:|[a-z][a-z0-9+.-]*://|(?:javascript|data|file|vbscript)\s*:", re.IGNORECASE)
"""What looks like a reference and, where it is none of the above, is a mistake rather than free words."""
_IDENTIFIES = ("arxiv:", "doi:", "http://", "https://")


def canonical_source(text: str) -> str:
    """`arxiv:2406.06484`, `doi:10.1038/...`, a URL, or free words such as `own observation`.

    Versions of an arXiv paper are one source, and so is its DOI at DataCite (10.48550/arXiv...). The result is its own
    canonical form.

    Raises:
        BadInput: it claims to be an arXiv id, a DOI or a URL, and is none.
    """
    text = " ".join(text.split())
    if (found := arxiv_id(text)) is not None:
        return f"arxiv:{found}"
    if (doi := _doi(text)) is not None:
        return f"doi:{doi}"
    if _URL.fullmatch(text):
        return _url(text)
    if _CLAIMS.match(text):
        raise BadInput(
            "Expected a source such as arxiv:2406.06484, arxiv:math/0211159, doi:10.1038/nature14236, an https URL, or "
            f"free words such as 'own observation', but got {text[:120]!r}. Give the id alone."
        )
    return text


def arxiv_id(text: str) -> str | None:
    """The arXiv id in any of its written forms, without its version; `None` where it is none."""
    match = _ARXIV.fullmatch(text.strip())
    if match is None:
        return None
    return match["new"] or f"{match['archive'].lower()}/{match['number']}"


def identifies(source: str) -> bool:
    """Whether a canonical source names one work. Free words, such as `own observation`, are shared by many items."""
    return source.startswith(_IDENTIFIES)


def _doi(text: str) -> str | None:
    match = _DOI.fullmatch(text)
    if match is None:
        return None
    written = unquote(match["doi"]) if match["url"] else match["doi"]
    doi = written.rstrip(".,;").lower()
    return doi if doi.isprintable() and " " not in doi and not doi.endswith("/") else None


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or "@" in parts.netloc:
        raise BadInput(f"Expected a URL with a host and without a user or password, but got {text[:120]!r}.")
    scheme = parts.scheme.lower()
    netloc = parts.netloc.lower()
    if port in (None, {"http": 80, "https": 443}[scheme]):
        netloc = re.sub(r":\d*$", "", netloc)
    path = "" if parts.path == "/" and not (parts.query or parts.fragment) else parts.path
    rest = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{netloc}{path}{rest}" + (f"#{parts.fragment}" if parts.fragment else "")
