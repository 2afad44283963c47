"""Which embedder the settings come to, and that choosing one loads nothing."""

import subprocess
import sys

import pytest
from asi_evolve.database.search.embedders import weights
from asi_evolve.database.search.embedders.choice import EmbedderOptions, chosen_kind, make_embedder
from asi_evolve.database.search.embedders.minilm import MiniLM
from asi_evolve.database.search.embedders.openai import OpenAIEmbedder

URL = {"url": "http://localhost:1/v1", "model": "m"}


@pytest.fixture
def folder(tmp_path):
    for file in weights.FILES:
        (tmp_path / file.name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "has_weights", "has_url", "chosen"),
    [
        ("auto", True, True, "openai"),
        ("auto", False, True, "openai"),
        ("auto", True, False, "minilm"),
        ("auto", False, False, "lexical"),
        ("minilm", True, True, "minilm"),
        ("minilm", False, False, "minilm"),
        ("openai", True, True, "openai"),
        ("lexical", True, True, "lexical"),
    ],
)
def test_auto_takes_the_best_and_everything_else_is_taken_at_its_word(folder, kind, has_weights, has_url, chosen):
    place = folder if has_weights else folder / "nowhere"
    options = EmbedderOptions(kind=kind, weights=place, **(URL if has_url else {}))
    assert chosen_kind(options) == chosen
    made = {"openai": OpenAIEmbedder, "minilm": MiniLM, "lexical": type(None)}
    assert type(make_embedder(options)) is made[chosen]


def test_choosing_loads_nothing_heavy_and_asks_nobody(folder):
    program = (
        "import sys; from pathlib import Path\n"
        "from asi_evolve.database.search.embedders.choice import EmbedderOptions, make_embedder\n"
        f"assert make_embedder(EmbedderOptions(weights=Path({str(folder)!r})))\n"
        "assert make_embedder(EmbedderOptions(url='http://localhost:1', model='m'))\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "asi_evolve" in loaded
    assert not {"numpy", "scipy", "tokenizers", "safetensors", "threadpoolctl", "httpx2", weights.PACKAGE} & loaded


def test_the_key_is_not_shown():
    assert "secret" not in repr(EmbedderOptions(api_key="secret", **URL))
