"""What the sections of `domain.toml` have in common: nothing unknown in them, and names and values of one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Value = int | float | str | bool
Parameters = Mapping[str, Value]


class Section(BaseModel):
    """A table of `domain.toml`; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
