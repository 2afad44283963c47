"""Cognition out of a workspace and into another: the same again, all or nothing, and nothing twice."""

import asyncio

import pytest
from asi_evolve.database import cognition
from asi_evolve.database.workspace import open_workspace
from asi_evolve.domains.loader import find_domain
from asi_evolve.evolution.knowledge import checked
from asi_evolve.evolution.models import CognitionOrigin
from asi_evolve.server.cli import main

BODY = (
    "Write the error of the recall instead of the value into the memory, so that associations interfere less. Keys "
    "must have unit length, or the transition can have an eigenvalue below minus one."
)
FILE = f"- title: Delta rule\n  body: {BODY}\n  source: arXiv:2406.06484v2\n  tags: [memory]\n"


def run(root, *command):
    return main(["cognition", *map(str, command), "--workspace", str(root)])


@pytest.fixture
def workspace(tmp_path):
    """The folder of an empty workspace."""

    async def make():
        async with open_workspace(tmp_path / "w"):
            pass

    asyncio.run(make())
    return tmp_path / "w"


def stored(root, domain=None):
    async def read():
        async with open_workspace(root) as workspace:
            return await cognition.of_domain(workspace.read, domain)

    return asyncio.run(read())


def test_what_goes_in_comes_out_and_in_again(workspace, tmp_path, capsys):
    seeds = find_domain("circle_packing").folder / "cognition.yaml"
    assert run(workspace, "import", seeds, "--domain", "circle_packing") == 0
    assert "Stored 21 items of 21 of domain circle_packing." in capsys.readouterr().out
    assert run(workspace, "export", tmp_path / "one.yaml", "--domain", "circle_packing") == 0
    assert {item.origin for item in stored(workspace, "circle_packing")} == {CognitionOrigin.HUMAN}
    other = tmp_path / "other"
    workspace.rename(other)
    assert run(other, "import", tmp_path / "one.yaml") == 0
    assert run(other, "export", tmp_path / "two.yaml") == 0
    assert (tmp_path / "one.yaml").read_text() == (tmp_path / "two.yaml").read_text()
    assert "The workspace also holds 21 of domain circle_packing" in capsys.readouterr().out


def test_an_import_of_what_is_there_stores_nothing(workspace, tmp_path, capsys):
    (tmp_path / "items.yaml").write_text(FILE)
    for _ in range(2):
        assert run(workspace, "import", tmp_path / "items.yaml") == 0
    assert "Stored 0 items of 1 for every domain.\n  1 item known already" in capsys.readouterr().out
    assert len(stored(workspace)) == 1


def test_a_near_duplicate_is_merged_and_said(workspace, tmp_path, capsys):
    (tmp_path / "items.yaml").write_text(FILE)
    (tmp_path / "more.yaml").write_text(FILE.replace("associations", "pairs").replace("minus one", "minus one or so"))
    run(workspace, "import", tmp_path / "items.yaml")
    capsys.readouterr()
    assert run(workspace, "import", tmp_path / "more.yaml") == 0
    assert "item 1 merged into k1, which keeps its text: nearly the same text" in capsys.readouterr().out
    assert len(stored(workspace)) == 1


def test_items_of_one_file_that_are_near_each_other_stay_apart_so_that_an_export_comes_in_whole(workspace, tmp_path):
    items = [
        checked(title="Delta rule", body=BODY + end, sources=["own observation"], where="item")
        for end in ("", " Indeed.", " Truly.")
    ]

    async def fill():
        async with open_workspace(workspace) as opened, opened.transaction() as tx:
            for item in items:
                await cognition.add(tx, cognition.NewItem.of(item, None, CognitionOrigin.AGENT))

    asyncio.run(fill())
    assert run(workspace, "export", tmp_path / "items.yaml") == 0
    workspace.rename(tmp_path / "old")

    async def make():
        async with open_workspace(workspace):
            pass

    asyncio.run(make())
    assert run(workspace, "import", tmp_path / "items.yaml") == 0
    assert [cognition.item_knowledge(item) for item in stored(workspace)] == items


def test_a_file_with_one_broken_item_stores_none_and_names_it(workspace, tmp_path, capsys):
    (tmp_path / "items.yaml").write_text(FILE + "- title: T\n  body: B\n  source: arxiv:12\n")
    assert run(workspace, "import", tmp_path / "items.yaml") == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'items.yaml'}: item 2: source of the item: Expected a source such as" in error
    assert stored(workspace) == []


def test_a_mistyped_domain_is_refused_and_a_folder_stands_for_its_name(workspace, tmp_path, capsys):
    (tmp_path / "items.yaml").write_text(FILE)
    assert run(workspace, "import", tmp_path / "items.yaml", "--domain", "circle_pack") == 1
    assert "circle_pack'" in capsys.readouterr().err
    folder = find_domain("circle_packing").folder
    assert run(workspace, "import", tmp_path / "items.yaml", "--domain", folder) == 0
    assert len(stored(workspace, "circle_packing")) == 1


def test_an_export_overwrites_nothing_and_says_where_items_are(workspace, tmp_path, capsys):
    (tmp_path / "items.yaml").write_text(FILE)
    run(workspace, "import", tmp_path / "items.yaml", "--domain", "circle_packing")
    assert run(workspace, "export", tmp_path / "items.yaml", "--domain", "circle_packing") == 1
    assert (tmp_path / "items.yaml").read_text() == FILE
    assert run(workspace, "export", tmp_path / "none.yaml") == 1
    assert "The workspace also holds 1 of domain circle_packing." in capsys.readouterr().err
    assert not (tmp_path / "none.yaml").exists()


@pytest.mark.parametrize("content", ["[]\n", "- &a x\n- *a\n", "- !!python/name:os.system\n", "\x00", "{}"])
def test_what_is_no_file_of_items_ends_in_a_sentence(workspace, tmp_path, capsys, content):
    (tmp_path / "items.yaml").write_text(content)
    assert run(workspace, "import", tmp_path / "items.yaml") == 1
    assert "expected" in capsys.readouterr().err
    assert stored(workspace) == []
