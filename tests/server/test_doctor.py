"""The doctor's page: what it looks at, what it says is missing, and what to do about it."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import asi_evolve
import pytest
from asi_evolve.database.workspace import WorkspacePaths
from asi_evolve.sandbox.cgroups import own_cgroup
from asi_evolve.sandbox.daemon_lock import hold_daemon_lock
from asi_evolve.sandbox.requirements import unmet
from asi_evolve.server.cli import main
from asi_evolve.server.doctor import examine
from asi_evolve.server.findings import Finding, print_findings
from asi_evolve.server.installation import EXTRAS, declared_extras
from asi_evolve.server.machine import cgroup_finding, disks, gpus, torch_finding
from asi_evolve.server.settings import Settings
from packaging.requirements import Requirement

from .conftest import environment

SUBJECTS = ["interpreter", "sqlite", "sqlite extensions", "workspace", "disk", "sandbox", "cgroup", "engineer", "gpus"]


@pytest.fixture
def found(tmp_path):
    return {finding.subject: finding for finding in examine(Settings(home=tmp_path / "home", gpus="none"))}


def test_the_page_covers_everything_that_experiments_need_and_what_is_optional(found):
    wanted = [*SUBJECTS, "embedder", *(f"extra {name}" for name in EXTRAS)]
    wanted += [f"domain {name}" for name in ("circle_packing", "linear_attention", "rl_algorithm")]
    assert [subject for subject in found if subject != "disk for temporary files"] == wanted
    for subject in ("interpreter", "sqlite", "sqlite extensions", "workspace", "domain circle_packing"):
        assert found[subject].state == "ok", found[subject]
    assert sys.executable in found["interpreter"].text
    assert version("sqlite-vec") in found["sqlite extensions"].text
    assert found["engineer"].text.startswith("not running")


def test_whatever_is_red_or_yellow_says_what_to_do_about_it(found):
    assert [
        finding for finding in found.values() if finding.state in ("warning", "problem") and not finding.remedy
    ] == []


def run_doctor(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-I", "-m", "asi_evolve.server.cli", "doctor", *map(str, arguments)],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_where_the_main_job_cannot_run_the_exit_status_is_1_and_the_last_line_says_why(tmp_path):
    (tmp_path / "file").touch()
    ended = run_doctor("--workspace", tmp_path / "file" / "home")
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1].startswith("Experiments cannot run: ")
    assert "workspace" in ended.stdout.splitlines()[-1]
    ended = run_doctor("--workspace", tmp_path, "--json", ASI_EVOLVE_PYTHON="/bin/false")
    assert ended.returncode == 1
    page = {fields["subject"]: fields for fields in json.loads(ended.stdout)}
    assert (page["interpreter"]["state"], page["sqlite"]["state"]) == ("problem", "ok")
    said = "Expected /bin/false to be a Python that starts, but it left with status 1: it printed nothing."
    assert page["interpreter"]["text"] == said
    assert page["extras"]["text"] == "/bin/false could not be asked what it has"


def test_nothing_of_a_gpu_is_imported_where_there_is_none(tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom asi_evolve.server.doctor import examine\n"
        "from asi_evolve.server.settings import Settings\n"
        f"findings = examine(Settings(home=Path({str(tmp_path)!r}), gpus='none'))\n"
        "assert len(findings) > 10\nprint(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "asi_evolve.server.machine" in done.stdout.split()
    assert not {"torch", "pynvml"} & set(done.stdout.split())


def test_devices_that_are_not_there_are_named(tmp_path):
    (finding,) = gpus(Settings(home=tmp_path, gpus="77"))
    assert (finding.state, finding.text.split()[0]) == ("warning", "/dev/nvidia77")
    assert "ASI_EVOLVE_GPUS" in finding.remedy


def interpreter_that_says(tmp_path, out, err="", status=0):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\necho '{out}'\necho \"{err}\" >&2\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("out", "err", "status", "state", "said"),
    [
        ('["2.13.0", "13.0", 2]', "", 0, "ok", "sees 2 of 2"),
        ('["2.13.0", null, 0]', "", 0, "warning", "built for CUDA no version, sees 0 of 2"),
        ("", "ModuleNotFoundError: No module named 'torch'", 1, "optional", "has no torch"),
        ("", "ImportError: libcudart.so.13", 1, "warning", "libcudart.so.13"),
    ],
)
def test_torch_is_asked_where_candidates_run(tmp_path, out, err, status, state, said):
    finding = torch_finding(interpreter_that_says(tmp_path, out, err, status), 2)
    assert (finding.state, said in finding.text, str(tmp_path) in finding.text) == (state, True, True)


def test_the_extras_are_those_of_the_package_and_each_says_what_it_is_for():
    project = tomllib.loads((Path(asi_evolve.__file__).parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(EXTRAS) == set(extras) - {"all", "test", "equality"}
    found = declared_extras(
        f'{requirement}; extra == "{name}"'
        for name, needed in extras.items()
        for requirement in needed
        if ";" not in requirement
    )
    assert [requirement.name for requirement in found["dti"]] == ["torch", "rdkit", "torch-geometric"]
    assert found["rl"][0].specifier == Requirement(extras["rl"][0]).specifier


def test_a_requirement_of_another_extra_or_another_system_does_not_count():
    lines = ["always>=1", 'a; extra == "rl"', 'b; extra == "dti"', 'c; sys_platform == "plan9" and extra == "rl"']
    assert [requirement.name for requirement in declared_extras(lines)["rl"]] == ["a"]


def test_a_version_that_is_too_old_is_as_good_as_none():
    needed = [Requirement("a>=2"), Requirement("b"), Requirement("c>=1")]
    lacking = unmet(needed, {"a": "1.9", "b": "missing", "c": "1.0+local"})
    assert [requirement.name for requirement in lacking] == ["a", "b"]


def process_in(tmp_path, group="/user.slice/mine", root="/", more=""):
    process, tree = tmp_path / "self", tmp_path / "tree"
    process.mkdir()
    mount = f"30 24 0:26 {root} {tree} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    (process / "mountinfo").write_text(f"24 1 8:1 / / rw - ext4 /dev/sda rw\n{mount}")
    (process / "cgroup").write_text(f"{more}0::{group}\n")
    return process, tree


def make_group(folder, controllers):
    folder.mkdir(parents=True)
    for name, text in (("controllers", controllers), ("procs", ""), ("subtree_control", "")):
        (folder / f"cgroup.{name}").write_text(text)


def test_a_delegated_cgroup_is_found_by_its_controllers_and_by_making_a_child(tmp_path):
    process, tree = process_in(tmp_path)
    make_group(tree / "user.slice" / "mine", "cpu memory pids\n")
    finding = cgroup_finding(process)
    assert (finding.state, str(tree / "user.slice" / "mine") in finding.text) == ("ok", True)
    assert not list((tree / "user.slice" / "mine").glob("asi-evolve*"))


def test_a_cgroup_that_lacks_something_says_how_to_get_it(tmp_path):
    process, tree = process_in(tmp_path)
    make_group(tree / "user.slice" / "mine", "cpu pids\n")
    finding = cgroup_finding(process)
    assert (finding.state, "no controller for memory;" in finding.text) == ("optional", True)
    assert "systemd-run --user --scope -p Delegate=yes" in finding.remedy
    (tree / "user.slice" / "mine" / "cgroup.controllers").write_text("memory pids")
    (tree / "user.slice" / "mine" / "cgroup.procs").unlink()
    finding = cgroup_finding(process)
    assert (finding.state, "not delegated" in finding.text) == ("optional", True)
    assert "watcher" in finding.text


def test_where_the_first_version_holds_the_controllers_the_remedy_is_another(tmp_path):
    process, tree = process_in(tmp_path, group="/", more="8:pids:/\n4:memory:/\n")
    make_group(tree, "")
    assert "systemd.unified_cgroup_hierarchy" in cgroup_finding(process).remedy


def test_inside_a_container_the_tree_begins_at_its_own_root(tmp_path):
    process, tree = process_in(tmp_path, group="/docker/abc/inner", root="/docker/abc")
    assert own_cgroup(process) == tree / "inner"


def test_without_a_cgroup_tree_there_is_nothing_to_remedy(tmp_path):
    assert own_cgroup(tmp_path) is None
    finding = cgroup_finding(tmp_path)
    assert (finding.state, finding.remedy) == ("optional", "")


def test_a_disk_that_is_nearly_full_is_told_for_the_workspace_that_lies_on_it(small_disk):
    place, remount = small_disk
    finding = disks(Settings(home=place / "not" / "made" / "yet"))[0]
    assert (finding.state, "0.0 GB free" in finding.text) == ("warning", True)
    remount("size=9G,nr_inodes=100")
    finding = disks(Settings(home=place))[0]
    assert (finding.state, "files can still be made" in finding.text) == ("warning", True)
    remount("size=9G,nr_inodes=1000000")
    home, temporary = disks(Settings(home=place))
    assert (home.state, temporary.subject) == ("ok", "disk for temporary files")


def test_an_engineer_of_another_version_is_told_with_how_to_end_it(tmp_path, capsys):
    paths = WorkspacePaths(tmp_path)
    paths.prepare()
    with hold_daemon_lock(paths, {"pid": 123, "version": "0.0.1"}):
        main(["doctor", "--workspace", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "process 123 runs version 0.0.1" in shown
    assert "kill 123" in shown


def test_the_page_breaks_no_remedy_into_lines(capsys):
    remedy = "python -m pip install " + " ".join(f"'package{number}>=1'" for number in range(30))
    print_findings([Finding("a", "warning", "[red]text[/] " * 30, remedy), Finding("longer", "ok", "fine")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith(remedy)
    assert "[red]text[/]" in lines[0]  # what a file said is no markup
    assert lines[-1] == "Experiments can run."
