"""The scripted agent's part: what it will write and say in each round, read from `programs/script.toml`."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Round(BaseModel):
    """One round of the script."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    file: str
    form: Literal["code", "edits"]
    parent: str
    """Name of an earlier round, or `baseline`."""
    motivation: str
    inspired_by: list[str]
    """Titles of cognition items."""
    analysis: str
    """May use {score}, {parent_score} and {outcome}."""
    lessons: list[str]
    tags: list[str]

    def text(self) -> str:
        """The program, or the edits on the parent's program."""
        return _folder().joinpath(self.file).read_text(encoding="utf-8")

    def report(self, score: float | None, parent_score: float | None, outcome: str) -> str:
        """The analysis with the numbers that came out."""
        return self.analysis.format(
            score="none" if score is None else f"{score:.6f}",
            parent_score="none" if parent_score is None else f"{parent_score:.6f}",
            outcome=outcome,
        )


def rounds() -> list[Round]:
    """Every round, in order."""
    script = tomllib.loads(_folder().joinpath("script.toml").read_text(encoding="utf-8"))
    return [Round.model_validate(entry) for entry in script["rounds"]]


def _folder():  # noqa: ANN202 -- importlib's Traversable moved between the supported Pythons
    return files(__package__ or __name__).joinpath("programs")
