"""SEARCH/REPLACE edits on a parent program: each must match in exactly one place.

packing.py                      the file's path, on the line before; optional where the parent has one file
<<<<<<< SEARCH
old text
=======
new text
>>>>>>> REPLACE
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import EditError

_BLOCK = re.compile(
    r"^<{5,9} SEARCH[ \t]*\n(?P<search>.*?)^={5,9}[ \t]*\n(?P<replace>.*?)^>{5,9} REPLACE[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_MARKER = re.compile(r"^(<{5,9} SEARCH|>{5,9} REPLACE)[ \t]*$", re.MULTILINE)
_SEPARATOR = re.compile(r"^={5,9}[ \t]*$", re.MULTILINE)
_FORM = "<<<<<<< SEARCH\n<old text>\n=======\n<new text>\n>>>>>>> REPLACE"


@dataclass(frozen=True)
class Edit:
    """One block; `path` is `None` where the text names no file."""

    path: str | None
    search: str
    replace: str


def parse_edits(text: str) -> list[Edit]:
    """Read the blocks of an edit text.

    Raises:
        EditError: there is no block, or a marker stands alone.
    """
    text = _unix(text)
    edits: list[Edit] = []
    end = 0
    for match in _BLOCK.finditer(text):
        if _MARKER.search(match["search"]) or _MARKER.search(match["replace"]):
            raise EditError(f"Expected each SEARCH to be closed by its own REPLACE in edit {len(edits) + 1}:\n{_FORM}")
        if _SEPARATOR.search(match["replace"]):
            raise EditError(
                f"Expected one line of = signs in edit {len(edits) + 1}, but found several: SEARCH could end at any "
                "of them. Send the whole file instead."
            )
        edits.append(Edit(_path_before(text[end : match.start()]), match["search"], match["replace"]))
        end = match.end()
    if len(_MARKER.findall(text)) != 2 * len(edits) or not edits:
        raise EditError(
            f"Expected edits as blocks of this form, each marker on a line of its own, but found {len(edits)} whole "
            f"blocks and {len(_MARKER.findall(text))} markers:\n{_FORM}"
        )
    return edits


def _path_before(gap: str) -> str | None:
    lines = [line.strip().strip("`") for line in gap.splitlines() if line.strip()]
    named = [line for line in lines if re.fullmatch(r"[\w./-]+\.\w+", line)]
    return named[-1] if named and named[-1] == lines[-1] else None


def apply_edits(files: Mapping[str, str], edits: list[Edit]) -> dict[str, str]:
    """The files after all edits, one after the other. A path that the parent lacks is an error, not a new file.

    Raises:
        EditError: a SEARCH text matches nowhere or in several places.
    """
    result = dict(files)
    for number, edit in enumerate(edits, start=1):
        path = _target(result, edit, number)
        result[path] = _apply(_unix(result[path]), edit, number, path)
    if all(_unix(text) == _unix(files[path]) for path, text in result.items()):
        raise EditError("Expected the edits to change the parent, but REPLACE equals SEARCH in every block.")
    return result


def _target(files: Mapping[str, str], edit: Edit, number: int) -> str:
    if edit.path is None and len(files) == 1:
        return next(iter(files))
    if edit.path is None or edit.path not in files:
        came = "no path" if edit.path is None else repr(edit.path)
        raise EditError(
            f"Edit {number}: expected one of the parent's files ({', '.join(sorted(files))}) on the line before "
            f"<<<<<<< SEARCH, but got {came}."
        )
    return edit.path


def _apply(text: str, edit: Edit, number: int, path: str) -> str:
    if not edit.search.strip():
        raise EditError(
            f"Edit {number}: expected text to search for, but SEARCH is empty. Quote the lines that the new text "
            "replaces, or send the whole file."
        )
    # The block's last newline is its form, not a claim that the file ends in one.
    whole = text if text.endswith("\n") else f"{text}\n"
    places = [match.start() for match in re.finditer(f"(?={re.escape(edit.search)})", whole)]
    if len(places) == 1:
        changed = whole[: places[0]] + edit.replace + whole[places[0] + len(edit.search) :]
        return changed if whole is text else changed.removesuffix("\n")
    if not places:
        raise EditError(
            f"Edit {number}: expected SEARCH to match once in {path}, but it matched nowhere. "
            f"{_nearest(text, edit.search)}Copy the lines exactly, with their indentation."
        )
    lines = [whole.count("\n", 0, place) + 1 for place in places]
    raise EditError(
        f"Edit {number}: expected SEARCH to match once in {path}, but it matched {len(places)} times, at lines "
        f"{', '.join(map(str, lines[:10]))}. Quote more of the lines around the place you mean."
    )


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _nearest(text: str, search: str, limit: int = 1500) -> str:
    """The stretch of the file that looks most like what was searched for."""
    lines = text.splitlines()
    wanted = search.splitlines()
    first = next((line.strip() for line in wanted if line.strip()), "")
    close = set(difflib.get_close_matches(first, [line.strip() for line in lines], n=5, cutoff=0.5))
    starts = [index for index, line in enumerate(lines) if line.strip() in close][:20]
    if not starts:
        return ""

    def likeness(start: int) -> float:
        return difflib.SequenceMatcher(None, "\n".join(lines[start : start + len(wanted)]), search.rstrip("\n")).ratio()

    best = max(starts, key=likeness)
    shown = "\n".join(lines[best : best + len(wanted)])[:limit]
    return f"The nearest text, at line {best + 1}, is:\n{shown}\n"
