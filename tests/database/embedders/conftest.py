"""Weights where a machine has them, and what an honest endpoint says."""

import sys

import pytest
from asi_evolve.database.search.embedders import weights
from asi_evolve.evolution.errors import EmbedderUnavailable


@pytest.fixture(scope="session")
def published():
    """A folder with the published weights."""
    for place in weights.there():
        try:
            weights.check(place)
        except EmbedderUnavailable:
            continue
        return place.folder
    pytest.skip(f"needs the weights of all-MiniLM-L6-v2: {weights.REMEDY}")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with nothing: no cache, no package."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, weights.PACKAGE, None)  # as if it were not installed
    return tmp_path


def embeddings(request, dimension=4, *, backwards=False):
    """What an honest endpoint answers: the vector of a text is its length, then ones."""
    data = [
        {"object": "embedding", "index": index, "embedding": [float(len(text)), *[1.0] * (dimension - 1)]}
        for index, text in enumerate(request["input"])
    ]
    return {"object": "list", "model": request["model"], "data": data[::-1] if backwards else data}


@pytest.fixture
def endpoint(endpoint):
    endpoint.answers = [embeddings]
    return endpoint
