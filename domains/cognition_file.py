"""Knowledge as YAML: the `cognition.yaml` of a domain, which is also what `asi-evolve cognition` writes and reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..evolution.errors import BadInput, DomainError
from ..evolution.knowledge import BODY_LIMIT, MAX_MERGED, Knowledge, checked
from ..evolution.text import excerpt, inert

MAX_BYTES = 10_000_000
MAX_DEPTH = 8
"""A list of items, each with a list of tags, has three; what is a little deeper is refused by item and key."""
MAX_SCALAR = 2 * BODY_LIMIT
WIDTH = 110


class SeedCognition(BaseModel):
    """One item of a `cognition.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    body: str
    symptom: str = ""
    source: str
    more_sources: Annotated[tuple[str, ...], Field(max_length=MAX_MERGED)] = ()
    tags: Annotated[tuple[str, ...], Field(max_length=MAX_MERGED)] = ()

    @classmethod
    def of(cls, item: Knowledge) -> SeedCognition:
        """A stored item, ready to write."""
        source, *more = item.sources
        return cls(
            title=item.title,
            body=item.body,
            symptom=item.symptom,
            source=source,
            more_sources=tuple(more),
            tags=item.tags,
        )

    @property
    def knowledge(self) -> Knowledge:
        """It as an item, checked.

        Raises:
            BadInput: a text is empty or too long, or a source is none.
        """
        return checked(
            title=self.title,
            body=self.body,
            symptom=self.symptom,
            sources=[self.source, *self.more_sources],
            tags=self.tags,
            where="the item",
            max_tags=MAX_MERGED,
        )


def read_items(path: Path, max_bytes: int = MAX_BYTES) -> tuple[SeedCognition, ...]:
    """The items of a file, each checked.

    Raises:
        DomainError: it is too large, no UTF-8, no YAML of this form, or an item breaks the contract; the message names
            item and key.
    """
    loaded = _load(path, _text(path, max_bytes))
    if not isinstance(loaded, list):
        raise DomainError(f"{path}: expected a list of items, but got {type(loaded).__name__}.")
    return tuple(_item(path, number, item) for number, item in enumerate(cast("list[Any]", loaded), start=1))


def written_items(items: Sequence[SeedCognition]) -> str:
    """Items as YAML: bodies as blocks of lines, what is empty left out. `read_items` gives the same items again."""
    import yaml

    class Writer(yaml.SafeDumper):
        """Texts of several lines as blocks, lists on one line."""

    def represent_text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return writer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    def represent_list(writer: yaml.SafeDumper, texts: tuple[str, ...]) -> yaml.SequenceNode:
        return writer.represent_sequence("tag:yaml.org,2002:seq", texts, flow_style=True)

    Writer.add_representer(str, represent_text)
    Writer.add_representer(tuple, represent_list)
    entries = [
        yaml.dump([_fields(item)], Dumper=Writer, allow_unicode=True, sort_keys=False, width=WIDTH) for item in items
    ]
    return "\n".join(entries) or "[]\n"


def _fields(item: SeedCognition) -> dict[str, Any]:
    return {name: value for name in SeedCognition.model_fields if (value := getattr(item, name)) not in ("", ())}


def _text(path: Path, max_bytes: int) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise DomainError(f"{path}: expected to read this file, but: {error.strerror or error}.") from error
    if len(data) > max_bytes:
        raise DomainError(f"{path}: expected at most {max_bytes} bytes, but it has more. Split it.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DomainError(f"{path}: expected UTF-8 text, but {error}.") from error


def _load(path: Path, text: str) -> Any:
    import yaml  # only here: a server answers `initialize` without it

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times faster, where it was built
    try:
        _refuse_bombs(path, yaml, yaml.parse(text, Loader=loader))
        return yaml.load(text, Loader=loader)  # noqa: S506 -- a safe loader, either way
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2024-13-45, or a number of 5,000 digits
        raise DomainError(f"{path}: expected YAML, but {excerpt(inert(str(error)), 400)}.") from error


def _refuse_bombs(path: Path, yaml: Any, events: Any) -> None:
    """An alias can make a list of billions out of a page, and a thousand brackets a deep recursion."""
    depth = 0
    for event in events:
        line = event.start_mark.line + 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise DomainError(f"{path}: line {line}: expected plain YAML, but got an anchor or alias. Write it out.")
        if depth > MAX_DEPTH:
            raise DomainError(f"{path}: line {line}: expected a list of items, but it is nested more deeply than that.")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise DomainError(
                f"{path}: line {line}: expected texts of at most {BODY_LIMIT} characters, but this one has "
                f"{len(event.value)}. Shorten it."
            )


def _item(path: Path, number: int, given: Any) -> SeedCognition:
    try:
        item = SeedCognition.model_validate(given)
        return SeedCognition.of(item.knowledge)
    except ValidationError as error:
        lines = [
            f"{path}: item {number}: {inert('.'.join(str(part) for part in problem['loc']))[:80] or 'the item'}: "
            + problem["msg"]
            for problem in error.errors(include_url=False)[:10]
        ]
        raise DomainError("\n".join(lines)) from error
    except BadInput as error:
        raise DomainError(f"{path}: item {number}: {error}") from error
