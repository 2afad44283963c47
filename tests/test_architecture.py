"""The house: each room knows only those below it, and nothing is called after nothing."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import asi_evolve
import pytest

ROOT = Path(asi_evolve.__file__).parent
MAY_IMPORT = {
    "evolution": set(),
    "database": {"evolution"},
    "domains": {"evolution"},
    "sandbox": {"evolution", "database", "domains"},
    "tools": {"evolution", "database", "domains", "sandbox"},
    "resources": {"evolution", "database", "domains", "sandbox", "tools"},
    "server": {"evolution", "database", "domains", "sandbox", "tools", "resources"},
}
# Programs that run as they lie there, copied out of the house: they import nothing of it at all.
SCRIPTS = ("harness.py", "evaluator.py", "prepare.py", "baseline", "programs")


def modules(room):
    return sorted(path for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)


def is_script(path):
    inside = path.relative_to(ROOT).parts
    return (inside[0] == "domains" and len(inside) > 2) or bool(set(SCRIPTS) & set(inside))


def rooms_imported(path):
    """(line, room) of each import of ours."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [name.name.split(".") for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if node.level:
                base = ["asi_evolve", *package][: len(package) + 2 - node.level]
                module = base + module
            names = [module] if len(module) > 1 else [[*module, name.name] for name in node.names]
        else:
            continue
        for name in names:
            if name[0] == "asi_evolve":
                yield node.lineno, name[1] if len(name) > 1 else "asi_evolve"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_only_point_down(room):
    assert modules(room)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {other}"
        for path in modules(room)
        for line, other in rooms_imported(path)
        if other != room and other not in MAY_IMPORT[room]
    ]
    assert wrong == []


def test_the_rule_sees_every_form_of_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "sandbox" / "isolation" / "module.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from ...tools import a\nfrom ...tools.b import c\nfrom ... import server\nimport asi_evolve.resources.d\n"
        "from asi_evolve.tools.e import f\nfrom asi_evolve import tools\ndef g():\n    from ..jobs import h\n"
        "from . import i\nimport os\nfrom pathlib import Path\n"
    )
    assert [room for _, room in sorted(rooms_imported(path))] == [
        "tools",
        "tools",
        "server",
        "resources",
        "tools",
        "tools",
        "sandbox",
        "sandbox",
    ]


# Who may read the texts that a campaign can switch off (`CampaignOptions.cognition`, `.lessons`). candidates.py only
# looks whether ids exist; promotion.py copies what was asked for by its id.
READS_OF_MEMORIES = {
    ("analyses", "latest"),
    ("analyses", "lessons"),
    ("analyses", "lessons_of"),
    ("analyses", "latest_lessons"),
    ("cognition", "many"),
}
# Besides the one place: what looks whether an id exists, what stores, and what compares before it stores.
MAY_READ_MEMORIES = {"tools/showing.py", "tools/candidates.py", "tools/promotion.py", "tools/deduplication.py"}


def test_analyses_lessons_and_cognition_reach_an_agent_through_one_place():
    readers = {
        str(path.relative_to(ROOT))
        for path in (path for room in ("tools", "resources") for path in modules(room))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in READS_OF_MEMORIES
    }
    assert readers == MAY_READ_MEMORIES, "go through tools/showing.py, or an ablation leaks"


def test_every_room_is_in_the_table():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert rooms == set(MAY_IMPORT)


def test_programs_that_run_in_the_sandbox_import_nothing_of_the_house():
    scripts = [path for room in ("domains", "server") for path in modules(room) if is_script(path)]
    assert scripts
    assert [str(path) for path in scripts if list(rooms_imported(path))] == []


def test_no_module_is_called_after_nothing():
    empty = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "base", "core"}
    names = {path for room in MAY_IMPORT for path in (ROOT / room).rglob("*") if "__pycache__" not in path.parts}
    # inside stand_in/ the names are those of the library that it stands in for
    assert [path for path in names if path.stem in empty and "stand_in" not in path.parts] == []


def test_every_module_says_in_its_first_line_what_it_is():
    silent = [
        str(path.relative_to(ROOT))
        for room in MAY_IMPORT
        for path in modules(room)
        if not is_script(path) and not (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip()
    ]
    assert silent == []


def test_every_file_of_a_room_is_in_the_distribution():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    left_out = []
    for path in (path for room in MAY_IMPORT for path in (ROOT / room).rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        package = ".".join(["asi_evolve", *path.relative_to(ROOT).parent.parts])
        patterns = ["*.py", *tool["package-data"].get(package, [])]
        if package not in tool["packages"] or not any(path.match(pattern) for pattern in patterns):
            left_out.append(str(path.relative_to(ROOT)))
    assert left_out == []


def loaded_by(statement):
    listing = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_supervisor_starts_light_since_every_job_pays_for_it():
    loaded = set(loaded_by("import asi_evolve.sandbox.supervisor"))
    assert "asi_evolve.sandbox.supervisor" in loaded
    assert not {"pydantic", "numpy", "aiosqlite", "mcp", "anyio", "yaml"} & loaded
    ours = {name for name in loaded if name.startswith("asi_evolve.") and name.count(".") > 1}
    rules = {name for name in ours if name.startswith("asi_evolve.evolution.")}
    assert rules <= {
        f"asi_evolve.evolution.{name}" for name in ("early_stop", "errors", "outcomes", "progress", "text")
    }
    assert {name.split(".")[1] for name in ours} <= {"evolution", "sandbox"}


def test_the_rules_of_the_search_need_neither_database_nor_server():
    paths = [path.relative_to(ROOT).with_suffix("") for path in modules("evolution") if path.stem != "__init__"]
    modules_of = [".".join(["asi_evolve", *path.parts]) for path in paths]
    loaded = set(loaded_by(f"import {', '.join(modules_of)}"))
    assert not {"aiosqlite", "sqlite3", "pysqlite3", "mcp", "anyio", "numpy", "yaml"} & loaded
