"""The cases that a domain brings for check-domain, and what is said of wrong ones."""

import shutil
from pathlib import Path

import pytest
from asi_evolve.domains.loader import load_domain
from asi_evolve.domains.own_cases import own_cases
from asi_evolve.evolution.errors import DomainError

NUMBER = Path(__file__).parents[1] / "domain_folders" / "number"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(NUMBER, tmp_path / "number")
    for kind in ("refused", "scored"):
        (tmp_path / "number" / kind).mkdir()
    return tmp_path / "number"


def cases(folder):
    return {case.name: case for case in own_cases(load_domain(folder))}


def test_a_domain_without_cases_has_none():
    assert own_cases(load_domain(NUMBER)) == []


def test_files_are_candidates_and_folders_are_candidates_or_outputs(folder):
    (folder / "refused" / "too_large.py").write_text("def number(seed): return 101")
    (folder / "refused" / "too_large.toml").write_text('reason = "up to 100"')
    (folder / "scored" / "two").mkdir()
    (folder / "scored" / "two" / "number.json").write_text("2")
    (folder / "scored" / "two.toml").write_text("score = 2")
    (folder / "scored" / "program").mkdir()
    (folder / "scored" / "program" / "number.py").write_text("from three import number")
    (folder / "scored" / "program" / "three.py").write_text("def number(seed): return 3")
    found = cases(folder)
    assert list(found) == ["refused/too_large", "scored/program", "scored/two"]
    assert found["refused/too_large"].candidate == {"number.py": "def number(seed): return 101"}
    assert found["refused/too_large"].settings.reason == "up to 100"
    assert (found["scored/two"].outputs, found["scored/two"].settings.score) == ({"number.json": b"2"}, 2.0)
    assert set(found["scored/program"].candidate) == {"number.py", "three.py"}
    assert [case.must_be_scored for case in found.values()] == [False, True, True]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"refused/a.toml": ""}, "expected a case a beside it"),
        ({"refused/a/other.json": "1"}, "expected output files out of ['number.json'] or a candidate with number.py"),
        ({"refused/a.py": "", "refused/a.toml": "score = 1"}, "expected no score"),
        ({"scored/a.py": "", "scored/a.toml": "reason = 'x'"}, "expected no reason"),
        ({"scored/a.py": "", "scored/a.toml": "moon = 1"}, "moon"),
        ({"scored/a.py": "", "scored/a.toml": "score = nan"}, "score"),
        ({"scored/a.py": "", "scored/a.toml": "= 1"}, "expected TOML"),
        ({"scored/a.py": "", "scored/a.toml": "instance = 'n7'"}, "expected instance to be one of []"),
    ],
)
def test_a_case_that_makes_no_sense_is_refused_by_name(folder, files, said):
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(DomainError) as refused:
        cases(folder)
    assert said in str(refused.value)
    assert "/a" in str(refused.value)


def test_an_empty_folder_and_a_candidate_that_is_no_text_are_refused(folder):
    (folder / "refused" / "empty").mkdir()
    with pytest.raises(DomainError, match="it holds nothing"):
        cases(folder)
    (folder / "refused" / "empty").rmdir()
    (folder / "refused" / "bytes.py").write_bytes(b"\xff")
    with pytest.raises(DomainError, match="UTF-8"):
        cases(folder)
