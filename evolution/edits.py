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

_SEARCH = re.compile(r"<{5,9} SEARCH[ \t]*")
_SEPARATOR = re.compile(r"={5,9}[ \t]*")
_REPLACE = re.compile(r">{5,9} REPLACE[ \t]*")
MAX_PLACES = 1000
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
        EditError: there is no block, or a marker stands where it means nothing.
    """
    edits: list[Edit] = []
    before: list[str] = []
    search: list[str] | None = None
    replace: list[str] | None = None
    for line in _unix(text).split("\n"):
        if _SEARCH.fullmatch(line):
            if search is not None:
                raise _misplaced("<<<<<<< SEARCH", "inside", edits)
            search = []
        elif _REPLACE.fullmatch(line):
            if search is None or replace is None:
                raise _misplaced(">>>>>>> REPLACE", "outside" if search is None else "before =======", edits)
            edits.append(Edit(_path_before(before), _joined(search), _joined(replace)))
            before, search, replace = [], None, None
        elif search is None:
            before.append(line)
        elif _SEPARATOR.fullmatch(line):
            if replace is not None:
                raise EditError(
                    f"Expected one line of = signs in edit {len(edits) + 1}, but found several: SEARCH could end at "
                    "any of them. Send the whole file instead."
                )
            replace = []
        else:
            (search if replace is None else replace).append(line)
    if search is not None:
        raise EditError(f"Expected edit {len(edits) + 1} to end with >>>>>>> REPLACE, but the text ended:\n{_FORM}")
    if not edits:
        raise EditError(f"Expected edits as blocks of this form, each marker on a line of its own:\n{_FORM}")
    return edits


def _misplaced(marker: str, where: str, edits: list[Edit]) -> EditError:
    place = f"{where} edit {len(edits) + 1}" if where == "inside" else where
    return EditError(
        f"Expected each SEARCH to be closed by its own REPLACE, but after {len(edits)} whole edits {marker} stands "
        f"{place}:\n{_FORM}"
    )


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _path_before(gap: list[str]) -> str | None:
    lines = [line.strip().strip("`") for line in gap if line.strip()]
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
    places = _places(whole, edit.search)
    if len(places) == 1:
        changed = whole[: places[0]] + edit.replace + whole[places[0] + len(edit.search) :]
        return changed if whole is text else changed.removesuffix("\n")
    if not places:
        raise EditError(
            f"Edit {number}: expected SEARCH to match once in {path}, but it matched nowhere. "
            f"{_nearest(text, edit.search)}Copy whole lines exactly, with their indentation."
        )
    lines = [whole.count("\n", 0, place) + 1 for place in places[:10]]
    raise EditError(
        f"Edit {number}: expected SEARCH to match once in {path}, but it matched "
        f"{'at least ' if len(places) == MAX_PLACES else ''}{len(places)} times, at lines "
        f"{', '.join(map(str, lines))}. Quote more of the lines around the place you mean."
    )


def _places(text: str, search: str) -> list[int]:
    """Where it matches, overlaps too, as far as `MAX_PLACES`."""
    places: list[int] = []
    at = text.find(search)
    while at >= 0 and len(places) < MAX_PLACES:
        places.append(at)
        at = text.find(search, at + 1)
    return places


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _nearest(text: str, search: str) -> str:
    """The stretch of the file that looks most like what was searched for. Compares so much, no more: it is a hint."""
    lines = text.splitlines()
    wanted = search.splitlines()[:40]
    first = next(line.strip() for line in wanted if line.strip())[:200]
    close = set(difflib.get_close_matches(first, {line.strip()[:200] for line in lines}, n=5, cutoff=0.5))
    starts = [index for index, line in enumerate(lines) if line.strip()[:200] in close][:20]
    if not starts:
        return ""

    def stretch(start: int) -> str:
        return "\n".join(lines[start : start + len(wanted)])[:1500]

    def likeness(start: int) -> float:
        return difflib.SequenceMatcher(None, stretch(start), "\n".join(wanted)[:1500]).ratio()

    best = max(starts, key=likeness)
    return f"The nearest text, at line {best + 1}, is:\n{stretch(best)}\n"
