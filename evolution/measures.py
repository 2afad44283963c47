"""The built-in measures of MAP-Elites: complexity of a program, and how far it is from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

REFERENCES = 10
"""Programs that diversity is measured against."""


def complexity(files: Mapping[str, str]) -> float:
    """Length of a program in characters."""
    return float(sum(map(len, files.values())))


def diversity(files: Mapping[str, str], references: Sequence[Mapping[str, str]]) -> float:
    """Mean normalised edit distance to some other programs, 0 to 1; 0 where there are none.

    Levenshtein distance over lines, as a diff counts them, divided by the number of lines of the longer program.
    Indentation and empty lines do not count. Over characters it would cost a thousand times as much and grow with the
    square of the length.
    """
    if not references:
        return 0.0
    from rapidfuzz.distance import Levenshtein  # only here: a server starts without it

    own = _lines(files)
    return sum(Levenshtein.normalized_distance(own, _lines(other)) for other in references) / len(references)


def _lines(files: Mapping[str, str]) -> list[str]:
    stripped = (line.strip() for path in sorted(files) for line in files[path].splitlines())
    return [line for line in stripped if line]
