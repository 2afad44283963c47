"""How alike two programs are, and what differs. Code that nothing calls and annotations are left aside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from .outline import CLOSE, OPEN, Definition, Outline
from .sketch import SHINGLE, sketch

NUMBERS_SHOWN = 5
_FORM = {
    "<Module", "<Expr", "<Assign", "<AugAssign", "<Tuple", "<List", "<BinOp", "<UnaryOp", "<Compare", "<BoolOp",
    "<Attribute", "<arguments", "<arg", "<keyword", "<Pass", "<NamedExpr", "<Subscript", "<alias",
}  # fmt: skip
"""Nodes of the tree that only hold others together."""

View = tuple[str, ...]
"""The tokens of a definition as they are compared: without annotations, names of the program's own and lengths."""


class Profile:
    """An outline, and what it is compared by, each worked out once and only where it is needed."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self.live = [definition for definition in outline.definitions if definition.live]

    @cached_property
    def views(self) -> list[View]:
        """One for each live definition."""
        masked: dict[str, str] = {}
        return [_view(definition, masked) for definition in self.live]

    @cached_property
    def forms(self) -> list[View]:
        """The views with all numbers taken as equal."""
        return [tuple("#" if token[0] == "#" else token for token in view) for view in self.views]

    @cached_property
    def sketch(self) -> bytes:
        """512 bits that programs share the more of, the more alike they are."""
        return sketch([*self.views, *self.forms])

    @cached_property
    def shingles(self) -> set[View]:
        """Of the views."""
        return _shingles(self.views)

    @cached_property
    def form_shingles(self) -> set[View]:
        """Of the forms."""
        return _shingles(self.forms)

    @cached_property
    def steps(self) -> Counter[str]:
        """Tokens that do something: operators, calls, attributes, strings, names from outside, control flow."""
        counts = Counter[str]()
        for definition in self.live:
            counts.update(_without_annotations(definition.tokens))
        found = Counter[str]()
        for token, count in counts.items():
            found[_masked(token)] += count
        return Counter({token: count for token, count in found.items() if token[0] not in "$#" and token not in _FORM})

    @cached_property
    def numbers(self) -> Counter[str]:
        """Numbers as they are written by Python."""
        return Counter(token[1:] for view in self.views for token in view if token[0] == "#")


@dataclass(frozen=True)
class Comparison:
    """How a program differs from an earlier one."""

    likeness: float
    """Share of shingles that both have, numbers counted (Jaccard), 0 to 1."""
    form: float
    """The same with all numbers taken as equal."""
    steps: int
    """Tokens that do something and that only one of the two has, the larger count of both sides."""
    numbers: tuple[tuple[str, ...], tuple[str, ...]]
    """Numbers that only the first has, and only the second."""
    rewired: bool
    """The tokens are the same, but names stand at each other's places: `a - b` for `b - a`."""
    complete: bool
    """False where one is so long that only its beginning was compared."""

    @property
    def numbers_changed(self) -> int:
        """The larger count of both sides."""
        return max(map(len, self.numbers))

    @property
    def summary(self) -> str:
        """What differs, for a reader."""
        found: list[str] = []
        if self.steps:
            found.append(f"{self.steps} token{'s' if self.steps > 1 else ''} of the code")
        if self.numbers_changed:
            now, before = (", ".join(side[:NUMBERS_SHOWN]) or "none" for side in self.numbers)
            found.append(f"numbers, {before} before and {now} now")
        if self.form < 1.0 and not self.steps:
            found.append("how statements are written")
        return "; ".join(found) or "names, order of definitions, annotations, or code that nothing calls"


def compare(one: Profile, other: Profile) -> Comparison:
    """How the first differs from the second. Symmetric, but for the sides of `numbers`."""
    return Comparison(
        likeness=_jaccard(one.shingles, other.shingles),
        form=_jaccard(one.form_shingles, other.form_shingles),
        steps=max(map(len, _only_in_one(one.steps, other.steps))),
        numbers=_only_in_one(one.numbers, other.numbers),
        rewired=_rewired(one, other),
        complete=one.outline.complete and other.outline.complete,
    )


def steps_changed(one: Profile, other: Profile) -> int:
    """`Comparison.steps` alone, for a fraction of the work."""
    return max(map(len, _only_in_one(one.steps, other.steps)))


def text_likeness(one: str, other: str) -> float:
    """Share of the pairs of words that two texts have in common (Jaccard), 0 to 1."""
    return _jaccard(_word_pairs(one), _word_pairs(other))


def _view(definition: Definition, masked: dict[str, str]) -> View:
    """`masked` remembers what tokens become."""
    tokens = _without_annotations(definition.tokens)
    for token in set(tokens) - masked.keys():
        masked[token] = _masked(token)
    return tuple(map(masked.__getitem__, tokens))


def _without_annotations(tokens: Sequence[str]) -> Sequence[str]:
    if OPEN not in tokens:
        return tokens
    kept: list[str] = []
    depth = 0
    for token in tokens:
        depth += (token == OPEN) - (token == CLOSE)
        if not depth and token != CLOSE:
            kept.append(token)
    return kept


def _masked(token: str) -> str:
    if token[0] in "$@":
        return token[0]
    if token.startswith("=$"):
        return "=$"
    if token[0] == "<" and len(token) > 1:
        return "<Assign" if token.startswith("<AnnAssign") else token.rstrip("-/0123456789")
    return token


def _shingles(views: Sequence[View]) -> set[View]:
    found: set[View] = set()
    for view in views:
        if len(view) < SHINGLE:
            found.add(view)
        else:
            found.update(zip(view, view[1:], view[2:], view[3:], strict=False))
    return found


def _jaccard(one: set[View], other: set[View]) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both) if one or other else 1.0


def _only_in_one(one: Counter[str], other: Counter[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple((one - other).elements()), tuple((other - one).elements())


def _rewired(one: Profile, other: Profile) -> bool:
    """Whether the definitions are equal but for names, and no renaming leads from one program to the other."""
    if sorted(one.forms) != sorted(other.forms):
        return False
    top = _Renaming()
    for first, second in zip(_by_form(one), _by_form(other), strict=True):
        inner = _Renaming()
        for name, counterpart in zip(_named(first), _named(second), strict=True):
            if not (top if name[0] == "@" else inner).admits(name, counterpart):
                return True
    return False


def _by_form(profile: Profile) -> list[Definition]:
    order = sorted(range(len(profile.live)), key=profile.forms.__getitem__)
    return [profile.live[place] for place in order]


def _named(definition: Definition) -> list[str]:
    return [token for token in _without_annotations(definition.tokens) if token[0] in "$@"]


class _Renaming:
    """A one-to-one map of names that grows."""

    def __init__(self) -> None:
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def admits(self, name: str, other: str) -> bool:
        return self._there.setdefault(name, other) == other and self._back.setdefault(other, name) == name


def _word_pairs(text: str) -> set[View]:
    words = re.findall(r"\w+", text.lower())
    return set(pairwise(words)) or {tuple(words)}
