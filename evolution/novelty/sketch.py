"""Sketches of sets of shingles: few bits, of which two sets have the more in common, the more they overlap."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

SHINGLE = 4
"""Tokens in a row that are compared at once."""
BITS = 512
_MASK = 2**64 - 1
_PLACE = 64 - 9
"""The highest nine bits of a hash say which of the 512 bits it takes part in."""
# Odd numbers of 64 bits from the digits of pi: the hash of a shingle is a sum of products modulo 2**64.
_FACTORS = (0x243F6A8885A308D3, 0x13198A2E03707345, 0xA4093822299F31D1, 0x082EFA98EC4E6C89)


def sketch(views: Iterable[Sequence[str]]) -> bytes:
    """512 bits for the shingles of some sequences of tokens. The same in every process and Python version.

    One-permutation hashing (Li, Owen and Zhang, NIPS 2012) with one bit of each minimum (Li and Koenig, WWW 2010): of
    two sets with a Jaccard likeness of J, about (1 - J) / 2 of the bits differ.
    """
    least: dict[int, int] = {}
    for value in _hashes(views):
        place = value >> _PLACE
        if value < least.get(place, _MASK + 1):
            least[place] = value
    bits = sum(((value >> 20) & 1) << place for place, value in least.items())
    return bits.to_bytes(BITS // 8, "little")


def _hashes(views: Iterable[Sequence[str]]) -> set[int]:
    codes: dict[str, int] = {}
    found: set[int] = set()
    first, second, third, fourth = _FACTORS
    for view in views:
        row: list[int] = []
        for token in view:
            code = codes.get(token)
            if code is None:
                code = codes[token] = zlib.crc32(token.encode()) + 1
            row.append(code)
        row += [0] * (SHINGLE - len(row))
        found.update(
            (a * first + b * second + c * third + d * fourth) & _MASK
            for a, b, c, d in zip(row, row[1:], row[2:], row[3:], strict=False)
        )
    return found
