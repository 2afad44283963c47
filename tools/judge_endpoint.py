"""The model that judges, behind an OpenAI-compatible endpoint: one question, one bounded answer, or a clear refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from ..database.endpoint import Endpoint, below
from ..evolution.errors import EndpointError
from ..evolution.judge_prompt import Marked, read_answer

ANSWER_BYTES = 1_000_000


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message


class _Completion(BaseModel):
    """https://platform.openai.com/docs/api-reference/chat: what of it is used."""

    choices: Annotated[list[_Choice], Field(min_length=1)]


@dataclass(frozen=True)
class JudgeEndpoint:
    """Where candidates are judged on request. The key never leaves it but in the header of a request to `url`."""

    url: str
    """Such as https://api.openai.com/v1; `/chat/completions` is added."""
    model: str
    api_key: SecretStr | None
    timeout_s: float
    """Of one judgement, all attempts together."""

    async def ask(self, messages: Sequence[Mapping[str, str]]) -> Marked:
        """The marks and the comment that the model answers with.

        Raises:
            EndpointError: it cannot be reached, refuses, takes too long, or answers something else.
        """
        request = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "response_format": {"type": "json_object"},
        }
        try:
            completion = await self._endpoint.post(request, _Completion)
        except EndpointError as error:
            raise EndpointError(
                f"{error} Nothing was stored. Try again later, or judge yourself with by='agent'."
            ) from None
        redacted = self._endpoint.redacted
        try:
            marked = read_answer(completion.choices[0].message.content)
        except EndpointError as error:
            raise EndpointError(redacted(str(error))) from None
        return Marked({redacted(name): mark for name, mark in marked.marks.items()}, redacted(marked.comment))

    @cached_property
    def _endpoint(self) -> Endpoint:
        return Endpoint(
            "the judge's endpoint",
            below(self.url, "/chat/completions"),
            settings="ASI_EVOLVE_JUDGE",
            timeout_s=self.timeout_s,
            max_bytes=ANSWER_BYTES,
            api_key=self.api_key.get_secret_value() if self.api_key is not None else None,
        )
