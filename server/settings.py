"""Settings: environment variables `ASI_EVOLVE_*`, overridden by the command line. Described in docs/settings.md."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ..database.search.embedders.choice import EmbedderOptions
from ..database.search.embedders.weights import there
from ..tools.arxiv import ARXIV_URL
from ..tools.judge_endpoint import JudgeEndpoint

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Settings(BaseSettings):
    """What a human decides about a server and its engineer. No tool call can change any of it."""

    model_config = SettingsConfigDict(
        env_prefix="ASI_EVOLVE_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("asi-evolve")),
        description="The workspace folder: database, artifacts, jobs in flight. Not on a network file system.",
    )
    python: str | None = Field(
        default=None,
        description="Interpreter that runs harness, candidate and evaluator; the server's own if unset.",
    )
    cpu_slots: Annotated[int, Field(ge=1, le=1024)] = Field(
        default_factory=lambda: os.cpu_count() or 1,
        description="CPU slots of the engineer; most stages hold one while they run. Default: the number of CPUs.",
    )
    gpus: str = Field(
        default="auto",
        description="Device numbers the engineer may hand out, such as 0,1; auto finds them, none uses no GPU.",
    )
    idle_seconds: Annotated[float, Field(gt=0)] = Field(
        default=600.0, description="The engineer daemon ends after so many seconds without work."
    )
    sandbox_minimum: Literal["bwrap", "userns", "landlock", "unconfined"] = Field(
        default="landlock",
        description="The weakest sandbox that experiments may run in; the strongest that works is taken.",
    )
    arxiv_url: str = Field(
        default=ARXIV_URL,
        description="Query endpoint of the arXiv API, or of a mirror, that add_cognition fetches papers from.",
    )
    transport: Literal["stdio", "http"] = Field(
        default="stdio", description="How clients reach the server: stdio, or streamable HTTP."
    )
    http_host: str = Field(
        default="127.0.0.1", description="Address to listen on; other than loopback needs http_token."
    )
    http_port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8321, description="Port to listen on.")
    http_allowed_hosts: str = Field(
        default="",
        description="Names that clients reach the server by besides loopback, such as box.lan:8321, comma-separated.",
    )
    http_token: SecretStr | None = Field(
        default=None, description="Bearer token that every HTTP client must send; at least 16 characters."
    )
    judge_url: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint that judges candidates on request, such as https://api.openai.com/v1.",
    )
    judge_model: str | None = Field(default=None, description="Name of the model that judges there.")
    judge_api_key: SecretStr | None = Field(default=None, description="Key for it, sent as a bearer token.")
    judge_timeout_s: Annotated[float, Field(gt=0, le=38)] = Field(
        default=30.0, description="Seconds that one judgement may take, with all attempts; at most 38."
    )
    embedder: Literal["auto", "minilm", "openai", "lexical"] = Field(
        default="auto",
        description="What searches go by. auto: openai where embedder_url is set, else minilm where its weights are "
        "found, else lexical (words).",
    )
    embedder_weights: Path | None = Field(
        default=None,
        description="minilm: the folder of model.safetensors and tokenizer.json; where people have them if unset.",
    )
    embedder_url: str | None = Field(
        default=None, description="openai: address of an OpenAI-compatible API, such as http://localhost:11434/v1."
    )
    embedder_model: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="openai: name of the model at embedder_url."
    )
    embedder_api_key: SecretStr | None = Field(default=None, description="openai: key sent as a bearer token.")
    embedder_dimension: Annotated[int, Field(ge=1, le=32768)] | None = Field(
        default=None, description="openai: length of vectors to ask for; what the model gives if unset."
    )
    embedder_timeout_s: Annotated[float, Field(gt=0, le=600)] = Field(
        default=30.0, description="openai: seconds for a batch of texts, retries included."
    )
    embedder_max_characters: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        default=8000, description="openai: longer texts are cut to this, since models refuse what is too long for them."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="What the server writes to stderr."
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("python")
    @classmethod
    def _executable(cls, value: str | None) -> str | None:
        if value is not None and not (
            Path(value).is_absolute() and Path(value).is_file() and os.access(value, os.X_OK)
        ):
            raise ValueError(f"expected the absolute path of a Python interpreter, but {value!r} is none")
        return value

    @field_validator("arxiv_url")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"expected an http or https URL without a query, such as {ARXIV_URL}")
        return value

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        token = self.http_token.get_secret_value() if self.http_token is not None else None
        if token is not None and len(token) < 16:
            raise ValueError("http_token: expected at least 16 characters")
        if self.transport == "http" and os.environ.get("ASI_EVOLVE_HTTP_TOKEN") == "":
            # As good as unset elsewhere; here a secret that did not arrive would leave the door open.
            raise ValueError("http_token: expected a token, but ASI_EVOLVE_HTTP_TOKEN is empty; unset it to need none")
        if self.transport == "http" and self.http_host not in LOOPBACK and token is None:
            raise ValueError(
                f"http_host={self.http_host} lets other machines in, so a token is needed: set ASI_EVOLVE_HTTP_TOKEN "
                "(for instance to the output of: openssl rand -hex 24), or listen on 127.0.0.1"
            )
        return self

    @field_validator("judge_url", "embedder_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("expected an address such as https://api.openai.com/v1")
        if "@" in parts.netloc:
            raise ValueError("expected no user and no secret in the address: there is a variable for the key")
        return value

    @field_validator("judge_api_key", "embedder_api_key")
    @classmethod
    def _fit_for_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and re.fullmatch("[!-~]+", value.get_secret_value()) is None:
            raise ValueError("expected visible ASCII characters, without spaces or line ends")
        return value

    @field_validator("embedder_weights")
    @classmethod
    def _folder_of_weights(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        folder = value.expanduser().absolute()
        if not there(folder):
            raise ValueError(f"expected a folder with model.safetensors and tokenizer.json, but {folder} lacks them")
        return folder

    @model_validator(mode="after")
    def _whole_endpoints(self) -> Self:
        if (self.judge_url is None) != (self.judge_model is None):
            raise ValueError("judge_url and judge_model: expected both or none of them")
        used = self.embedder == "openai" or (self.embedder == "auto" and self.embedder_url is not None)
        if used and (self.embedder_url is None or self.embedder_model is None):
            raise ValueError("embedder=openai needs both ASI_EVOLVE_EMBEDDER_URL and ASI_EVOLVE_EMBEDDER_MODEL")
        return self

    def judge_endpoint(self) -> JudgeEndpoint | None:
        """The endpoint that judges on request."""
        if self.judge_url is None or self.judge_model is None:
            return None
        return JudgeEndpoint(self.judge_url, self.judge_model, self.judge_api_key, self.judge_timeout_s)

    def embedder_options(self) -> EmbedderOptions:
        """What `make_embedder` takes."""
        return EmbedderOptions(
            kind=self.embedder,
            weights=self.embedder_weights,
            url=self.embedder_url,
            model=self.embedder_model,
            api_key=self.embedder_api_key.get_secret_value() if self.embedder_api_key is not None else None,
            dimension=self.embedder_dimension,
            timeout_s=self.embedder_timeout_s,
            max_characters=self.embedder_max_characters,
        )

    def gpu_devices(self) -> tuple[int, ...]:
        """Device numbers that the engineer may hand out."""
        if self.gpus == "none":
            return ()
        if self.gpus == "auto":
            return tuple(sorted(int(path.name[6:]) for path in Path("/dev").glob("nvidia[0-9]*")))
        return tuple(dict.fromkeys(int(part) for part in self.gpus.split(",")))

    @field_validator("gpus")
    @classmethod
    def _device_list(cls, value: str) -> str:
        if value not in ("auto", "none") and not all(part.strip().isdecimal() for part in value.split(",")):
            raise ValueError(f"expected auto, none, or device numbers such as 0,1, but got {value!r}")
        return value
