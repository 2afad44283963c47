"""The commands that need no server: help, version, campaigns, export."""

import asyncio
import json
import os
import re
from importlib.metadata import version

import pytest
from asi_evolve.database.workspace import open_workspace
from asi_evolve.server.cli import main

from ..tools.conftest import open_bench
from .conftest import cli

COMMANDS = ["serve", "demo", "engineer", "doctor", "fetch-model", "check-domain"]
COMMANDS += ["campaigns", "export", "compare", "cognition", "verify", "version"]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: asi-evolve" in shown
    if not command:
        assert re.findall(r"^    ([\w-]+)(?: |$)", shown, re.MULTILINE) == COMMANDS


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["moon"],
        ["export"],
        ["cognition"],
        ["cognition", "import"],
        ["check-domain"],
        ["serve", "--transport", "moon"],
        ["serve", "--port", "x"],
    ],
)
def test_a_wrong_command_line_ends_with_status_2_and_the_usage(capsys, wrong):
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert "usage: asi-evolve" in capsys.readouterr().err


def test_version_is_that_of_the_installed_package():
    ended = cli("version")
    assert (ended.returncode, ended.stdout) == (0, f"asi-evolve-mcp {version('asi-evolve-mcp')}\n")


async def _make_workspace(root):
    async with open_workspace(root):
        pass


def test_an_empty_workspace_has_no_campaigns(tmp_path, capsys):
    asyncio.run(_make_workspace(tmp_path))
    assert main(["campaigns", "--workspace", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"No campaigns in {tmp_path}.\n"
    assert main(["campaigns", "--json", "--workspace", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    "command", [["campaigns"], ["export", "c1", "/nowhere/x"], ["cognition", "export", "/nowhere/x"]], ids=" ".join
)
def test_a_workspace_that_does_not_exist_is_not_made(tmp_path, capsys, command):
    assert main([*command, "--workspace", str(tmp_path / "mistyped")]) == 1
    assert str(tmp_path / "mistyped") in capsys.readouterr().err
    assert not (tmp_path / "mistyped").exists()


def test_campaigns_lists_them_for_people_and_for_programs(workspace_of_one_campaign):
    shown = cli("campaigns", "--workspace", workspace_of_one_campaign)
    assert shown.returncode == 0, shown.stderr
    (line,) = shown.stdout.splitlines()
    assert line.split() == ["c1", "number", "best", "2", "2", "of", "100", "experiments", "first", "try"]
    shown = cli("campaigns", "--json", ASI_EVOLVE_HOME=str(workspace_of_one_campaign))
    (fields,) = json.loads(shown.stdout)
    assert fields | {"campaign": "c1", "name": "first try", "best_score": 2.0} == fields


def test_export_writes_everything_of_a_campaign(workspace_of_one_campaign, tmp_path):
    folder = tmp_path / "deep" / "export"
    ended = cli("export", "--workspace", workspace_of_one_campaign, "c1", folder)
    assert ended.returncode == 0, ended.stderr
    assert "2 nodes of c1" in ended.stdout
    campaign = json.loads((folder / "campaign.json").read_text())
    assert (campaign["name"], campaign["domain_name"], campaign["settings"]["sampler"]) == (
        "first try",
        "number",
        "ucb1",
    )
    first, second = map(json.loads, (folder / "nodes.jsonl").read_text().splitlines())
    assert first["is_baseline"]
    assert (second["score"], second["motivation"], second["parents"]) == (2.0, "Try 2.0.", [1])
    assert (second["analysis"], second["tags"], second["inspired_by"]) == ("the report", ["a-tag"], ["k1"])
    assert second["lessons"][0]["text"] == "the lesson"
    assert second["evaluations"][0]["metrics"] == {"value": 2.0}
    assert "return 2.0" in (folder / "n2" / "files" / "number.py").read_text()
    assert (folder / "n2" / "e2-explore-0" / "stdout.log").read_text() == "printed"
    assert (folder / "n2" / "e2-explore-0" / "stderr.log").read_text() == "wailed"
    told = json.loads((folder / "n2" / "e2-explore-0" / "progress.json").read_text())
    assert told["points"][0]["values"] == {"loss": 1.25}
    assert not (folder / "n1" / "e1-explore-0" / "progress.json").exists()


def test_export_refuses_a_folder_that_exists_and_leaves_it_as_it_was(workspace_of_one_campaign, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "nodes.jsonl").write_text("mine")
    ended = cli("export", "--workspace", workspace_of_one_campaign, "c1", folder)
    assert ended.returncode == 1
    assert f"{folder} does" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path.name for path in folder.iterdir()] == ["nodes.jsonl"]
    assert (folder / "nodes.jsonl").read_text() == "mine"


@pytest.mark.parametrize(("campaign", "said"), [("c9", "no c9"), ("n1", "id of a campaign"), ("moon", "an id such as")])
def test_export_of_what_does_not_exist_makes_no_folder(workspace_of_one_campaign, tmp_path, capsys, campaign, said):
    assert main(["export", "--workspace", str(workspace_of_one_campaign), campaign, str(tmp_path / "x")]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_export_to_a_place_that_cannot_be_written_says_so(workspace_of_one_campaign, tmp_path, capsys):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "export"
    assert main(["export", "--workspace", str(workspace_of_one_campaign), "c1", str(target)]) == 1
    assert str(target) in capsys.readouterr().err


def test_a_broken_workspace_is_told_without_a_traceback(tmp_path):
    (tmp_path / "evolve.db").write_bytes(b"not a database " * 100)
    ended = cli("campaigns", "--workspace", tmp_path)
    assert ended.returncode == 1
    assert "evolve.db" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_export_for_another_trainer_writes_the_program_of_a_node(tmp_path, workspace_of_one_campaign):
    asyncio.run(_make_rl_campaign(tmp_path / "workspace"))
    folder = tmp_path / "deep" / "n1"
    ended = cli("export", "--workspace", tmp_path / "workspace", "n1", folder, "--for", "verl")
    assert ended.returncode == 0, ended.stderr
    assert "n1 for verl" in ended.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "evolved_n1.py", "run.sh"]
    assert "def compute_advantages(batch" in (folder / "evolved_n1.py").read_text()
    assert os.access(folder / "run.sh", os.X_OK)
    again = cli("export", "--workspace", tmp_path / "workspace", "n1", folder, "--for", "verl")
    assert again.returncode == 1 and "does not exist yet" in again.stderr
    other = cli("export", "--workspace", workspace_of_one_campaign, "n2", "--for", "verl")
    assert other.returncode == 1 and "brings no exports" in other.stderr
    lacking = cli("export", "--workspace", workspace_of_one_campaign, "c1")
    assert lacking.returncode == 1 and "Expected a folder" in lacking.stderr


async def _make_rl_campaign(root):
    async with open_bench(root) as bench:
        await bench.campaign(score=None, domain="rl_algorithm")
