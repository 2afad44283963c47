"""What the docs say is true: their programs run, and nothing they list is missing."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from asi_evolve.domains.contract import DomainSpec
from asi_evolve.evolution.models import CampaignOptions, SamplingOptions
from asi_evolve.server.app import build_server
from asi_evolve.server.settings import Settings
from asi_evolve.tools.laboratory import Laboratory
from mcp import Client

from .conftest import call

ROOT = Path(__file__).parents[2]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_readmes_script_runs(lab, tmp_path):
    (script,) = blocks((ROOT / "README.md").read_text(), "python")
    (tmp_path / "script.py").write_text(script.replace('"my-search"', repr(str(lab.root))))
    shown = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        env=os.environ
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ASI_EVOLVE_IDLE_SECONDS": "5"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shown.returncode == 0, shown.stderr
    assert "'outcome': 'scored'" in shown.stdout


def write_the_domain_of_the_docs(folder):
    text = (ROOT / "docs" / "domains.md").read_text()
    (folder / "baseline").mkdir(parents=True)
    for name, language, body in re.findall(r"^`([\w./]+)`:\n\n```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        assert language in ("toml", "markdown", "python")
        (folder / name).write_text(body)
    return folder


@pytest.mark.slow
def test_the_domain_of_the_docs_is_strict(tmp_path):
    folder = write_the_domain_of_the_docs(tmp_path / "ruler")
    command = [sys.executable, "-I", "-m", "asi_evolve.server.cli", "check-domain", str(folder)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "0 failed. A campaign can start." in shown.stdout


def test_the_domain_of_the_docs_works_from_scratch(lab, tmp_path):
    folder = write_the_domain_of_the_docs(tmp_path / "ruler")
    better = "def marks():\n    return [0, 1, 4, 9, 15, 22, 32, 34]\n"

    async def run():
        async with Client(lab.stdio()) as client:
            started = await call(client, "start_campaign", domain=str(folder))
            baseline = await call(client, "wait_experiment", experiments=[started["baseline"]["experiment"]], wait_s=40)
            assert (baseline["outcome"], baseline["score"]) == ("scored", -127.0), baseline
            arguments = {"campaign": started["campaign"], "motivation": "A known optimum.", "wait_s": 40}
            result = await call(client, "run_experiment", name="optimal", code=better, **arguments)
            assert result["score"] == -34.0
            wrong = better.replace("34]", "33]")
            result = await call(client, "run_experiment", name="wrong", code=wrong, **arguments)
            assert result["outcome"] == "invalid_output"
            assert "different" in result["reason"]

    asyncio.run(run())


def test_every_tool_resource_and_prompt_is_listed_and_nothing_else(tmp_path):
    text = (ROOT / "docs" / "tools.md").read_text()
    server, _ = build_server(Laboratory(tmp_path, ["true"]), Settings(home=tmp_path))

    async def served():
        async with Client(server) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            resources = {str(resource.uri) for resource in (await client.list_resources()).resources}
            templates = {t.uri_template for t in (await client.list_resource_templates()).resource_templates}
            prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
            return tools, resources | templates, prompts

    tools, resources, prompts = asyncio.run(served())
    listed = [set(re.findall(r"^\| `([^`]+)`", part, re.MULTILINE)) for part in text.split("\n| ")]
    rows = set().union(*listed) | set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    commands = {row for row in rows if row.startswith("asi-evolve")}
    assert rows - commands == tools | resources | prompts


def anchors(text):
    """What a heading can be linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_between_the_docs_leads_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    broken = []
    for page in pages:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
            there = (page.parent / target).resolve() if target else page
            if not there.exists() or (anchor and anchor not in anchors(there.read_text())):
                broken.append(f"{page.name}: {target}#{anchor}")
    assert len(pages) > 5
    assert broken == []


def test_every_option_of_a_campaign_is_explained():
    texts = [(ROOT / "docs" / name).read_text() for name in ("campaigns.md", "samplers.md")]
    for model, text in zip((CampaignOptions, SamplingOptions), texts, strict=True):
        rows = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
        assert [name for name in model.model_fields if f"`{name}`" not in rows] == []


def test_every_command_is_listed(tmp_path):
    text = (ROOT / "docs" / "tools.md").read_text()
    shown = subprocess.run(
        [sys.executable, "-I", "-m", "asi_evolve.server.cli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = set(re.findall(r"^    ([\w-]+)(?: |$)", shown, re.MULTILINE))
    assert commands == set(re.findall(r"^\| `asi-evolve ([\w-]+)", text, re.MULTILINE))


def test_every_key_of_a_domain_is_explained():
    text = (ROOT / "docs" / "domains.md").read_text()
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))

    def leaves(schema, place):
        reference = schema.get("$ref") or schema.get("items", {}).get("$ref")
        if reference is None and "anyOf" in schema:
            for option in schema["anyOf"]:
                yield from leaves(option, place)
            return
        schema = definitions[reference.split("/")[-1]] if reference else schema
        if "properties" in schema:
            for name, inner in schema["properties"].items():
                yield from leaves(inner, [*place, name])
        elif "$ref" in (schema.get("additionalProperties") or {}):
            yield from leaves(schema["additionalProperties"], place)
        else:
            yield place[-1]

    whole = DomainSpec.model_json_schema()
    definitions = whole["$defs"]
    for name in set(leaves(whole, [])):
        assert re.search(rf"[`.{{ ]{name}\b", table), f"{name} is not explained in docs/domains.md"
