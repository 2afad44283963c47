"""What is said of a candidate at once, before anything runs."""

import pytest
from asi_evolve.domains.contract import CandidateForm
from asi_evolve.domains.static_check import check_candidate, check_path
from asi_evolve.evolution.errors import BadInput
from hypothesis import given
from hypothesis import strategies as st

FORM = CandidateForm(
    entry="model.py", max_files=3, must_define=("build",), forbidden_imports=("ctypes", "asi_evolve.sandbox")
)
GOOD = "def build():\n    return 1\n"


def refusal(files, form=FORM):
    with pytest.raises(BadInput) as caught:
        check_candidate(files, form)
    return str(caught.value)


def test_a_candidate_of_the_right_form_passes():
    check_candidate({"model.py": GOOD, "layers/mixer.py": "x = 1", "notes.txt": "free = = text"}, FORM)


@pytest.mark.parametrize(
    "path",
    [
        "../model.py",
        "a/../b.py",
        "/etc/passwd",
        ".hidden.py",
        "a/.git/config",
        "a\\b.py",
        "C:\\b.py",
        "",
        ".",
        "./a.py",
        "a//b.py",
        "a/",
        "a b.py",
        "a\nb.py",
        "a.py\n",
        "a\0.py",
        "café.py",
        "a/b/c/d/e/f/g/h/i.py",
        "a" * 101,
        "-rf",
    ],
)
def test_a_file_name_that_is_not_plain_is_refused_and_shown(path):
    message = refusal({"model.py": GOOD, path: ""})
    assert "layers/mixer.py" in message
    assert repr(path[:120]) in message


@given(st.text(alphabet="ab./\\~- \0", max_size=12))
def test_a_file_name_that_passes_stays_inside_its_folder(path):
    try:
        check_path(path)
    except BadInput:
        return
    assert not path.startswith(("/", "~", ".", "-"))
    assert not {"..", ".", ""} & set(path.split("/"))


def test_a_path_cannot_be_a_file_and_a_folder_at_once():
    assert "makes it both" in refusal({"model.py": GOOD, "a": "x", "a/b.py": ""})
    assert "makes it both" in refusal({"model.py": GOOD, "model.py/b/c.py": ""})


def test_too_many_files_are_counted():
    files = {"model.py": GOOD} | {f"f{number}.py": "" for number in range(3)}
    assert "at most 3 file(s), but got 4" in refusal(files)


def test_too_much_text_is_measured_in_bytes_over_all_files():
    form = FORM.model_copy(update={"max_bytes": 2_000_000})
    comment = "#" * (1_000_000 - len(GOOD))
    check_candidate({"model.py": GOOD + comment, "b.txt": "x" * 1_000_000}, form)
    assert "at most 2000000 bytes of candidate, but got 2000001" in refusal(
        {"model.py": GOOD + comment, "b.txt": "x" * 999_999 + "é"}, form
    )


@pytest.mark.parametrize(("text", "said"), [("x\0y", "NUL"), ("x = '\ud800'", "surrogates")])
def test_text_that_is_no_text_is_refused_by_file(text, said):
    for path in ("notes.txt", "other.py"):
        message = refusal({"model.py": GOOD, path: text})
        assert path in message
        assert said in message


def test_a_missing_entry_is_told_with_what_came():
    assert "a file model.py" in refusal({"main.py": GOOD})
    assert "['main.py']" in refusal({"main.py": GOOD})
    assert "no files" in refusal({})


@pytest.mark.parametrize("text", ["", " \n\t\n"])
def test_an_empty_program_is_refused(text):
    assert "model.py, but it is empty" in refusal({"model.py": text})


@pytest.mark.parametrize("path", ["model.py", "other.py"])
def test_a_syntax_error_in_any_file_is_told_with_file_and_line(path):
    message = refusal({"model.py": GOOD} | {path: "x = 1\ndef build(:\n    pass\n"})
    assert path in message
    assert "line 2" in message


@pytest.mark.parametrize(
    "text",
    [
        "def builder():\n    pass\n",
        "x = 1\n",
        "def outer():\n    def build():\n        pass\n",
        "class A:\n    def build(self):\n        pass\n",
        "build()\n",
        "'def build(): pass'\n",
    ],
)
def test_a_required_name_that_is_not_defined_at_the_top_is_named(text):
    assert "model.py to define build at its top level" in refusal({"model.py": text})


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "async def build():\n    pass\n",
        "class build:\n    pass\n",
        "build = lambda: 1\n",
        "build: object = print\n",
        "from somewhere import build\n",
        "from somewhere import make as build\n",
        "import build\n",
        "if True:\n    def build():\n        pass\n",
        "try:\n    import numba\nexcept ImportError:\n    def build():\n        pass\n",
        "try:\n    pass\nfinally:\n    class build:\n        pass\n",
        "with open('x') as f:\n    def build():\n        pass\n",
    ],
)
def test_any_way_to_define_a_required_name_counts(text):
    check_candidate({"model.py": text}, FORM)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("import ctypes", "ctypes"),
        ("import os, ctypes", "ctypes"),
        ("import ctypes as c", "ctypes"),
        ("import ctypes.util", "ctypes.util"),
        ("from ctypes import CDLL", "ctypes"),
        ("from ctypes.util import find_library", "ctypes.util"),
        ("def f():\n    import ctypes", "ctypes"),
        ("if 0:\n    from asi_evolve.sandbox.jobs import JobFolder", "asi_evolve.sandbox.jobs"),
    ],
)
def test_a_forbidden_import_is_told_with_file_module_and_line(statement, named):
    message = refusal({"model.py": GOOD, "other.py": f"x = 1\n{statement}\n"})
    line = 2 + statement.count("\n")
    assert f"other.py imports {named} at line {line}" in message


@pytest.mark.parametrize("statement", ["import ctypes2", "from . import ctypes", "import asi_evolve", "ctypes = 1"])
def test_a_module_that_only_resembles_a_forbidden_one_is_allowed(statement):
    check_candidate({"model.py": f"{statement}\n{GOOD}"}, FORM)
