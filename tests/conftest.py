"""Async tests run on asyncio, which is what the server runs on."""

import subprocess

import pytest
from asi_evolve.database import endpoint as endpoints

from .endpoint_server import EndpointServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def endpoint(monkeypatch):
    """A server that is reached without a proxy, and asked again without a long pause."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(endpoints, "FIRST_PAUSE_S", 0.02)
    with EndpointServer() as server:
        yield server


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1.5 MB of its own, and a way to change its options."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", place], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"needs the right to mount a file system: {mount.stderr.strip()}")

    def remount(options):
        subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)

    yield place, remount
    subprocess.run(["umount", "--lazy", place], check=True)
