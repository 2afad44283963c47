"""Two candidates are the same program when their syntax trees are equal."""

import pytest
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.novelty.fingerprint import fingerprint
from hypothesis import given
from hypothesis import strategies as st

PROGRAM = '''\
"""A packing."""
import math


class Packing:
    """Circles."""

    def radius(self, k):
        """Of circle k."""
        # the golden ratio
        return math.sqrt(k + 1) * 0.5
'''


def of(text):
    return fingerprint({"a.py": text})


@pytest.mark.parametrize(
    "same",
    [
        PROGRAM.replace("        # the golden ratio\n", ""),
        PROGRAM.replace("golden", "silver"),
        PROGRAM.replace("Of circle k.", "Something else."),
        PROGRAM.replace('    """Circles."""\n', ""),
        PROGRAM.replace('        """Of circle k."""\n', ""),
        PROGRAM.replace('"""A packing."""\n', ""),
        PROGRAM.replace("math.sqrt(k + 1) * 0.5", "(math.sqrt( k+1 )*\n            0.5)"),
        PROGRAM.replace("    ", "  "),
        PROGRAM.replace("\n", "\r\n"),
        PROGRAM + "\n\n# the end\n",
        PROGRAM.replace("0.5", "5e-1"),
    ],
)
def test_comments_docstrings_and_layout_do_not_make_a_new_program(same):
    assert same != PROGRAM
    assert of(same) == of(PROGRAM)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.51"),
        ("k + 1", "1 + k"),
        ("k + 1", "k - 1"),
        ("k + 1", "k + 1.0"),
        ("k + 1", "k + True"),
        ("radius", "ray"),
        ("(self, k)", "(self, k=0)"),
        ("math.sqrt", "abs"),
        ("import math", "import math as math"),
        ("return ", "yield "),
        ("class Packing:", "class Packing(dict):"),
        ("    def radius", "    @staticmethod\n    def radius"),
        ("import math\n", "import math\n'not a docstring'\n"),
    ],
)
def test_any_change_of_meaning_makes_a_new_program(old, new):
    assert old in PROGRAM
    assert of(PROGRAM.replace(old, new)) != of(PROGRAM)


def test_two_functions_with_only_a_docstring_are_as_empty_as_with_pass():
    assert of("def f():\n    'one'\n") == of("def f():\n    pass\n") == of("def f():\n    'two'\n")
    assert of("def f():\n    'one'\n") != of("def f():\n    1\n")


def test_the_same_text_under_another_path_is_another_program():
    assert fingerprint({"a.py": "x = 1"}) != fingerprint({"b.py": "x = 1"})


def test_text_cannot_move_between_files_unnoticed():
    assert fingerprint({"a.txt": "x\0b.txt\0001\0y", "b.txt": ""}) != fingerprint({"a.txt": "x", "b.txt": "y"})


def test_the_order_of_the_files_does_not_matter():
    assert fingerprint({"a.py": "x", "b.py": "y"}) == fingerprint({"b.py": "y", "a.py": "x"})


@given(st.text(), st.text())
def test_files_that_are_not_python_count_by_their_text(one, other):
    assert (fingerprint({"a.txt": one}) == fingerprint({"a.txt": other})) == (one == other)


def test_a_syntax_error_names_file_line_and_the_line_itself():
    with pytest.raises(BadInput) as refusal:
        fingerprint({"fine.py": "x = 1\n", "layers/broken.py": "x = 1\ny = = 2\n"})
    assert "layers/broken.py" in str(refusal.value)
    assert "line 2" in str(refusal.value)
    assert "y = = 2" in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "-" * 200_000 + "1",
        "a" + ".b" * 200_000,
        "+".join(["a"] * 100_000),
        "lambda:" * 50_000 + "1",
        "not " * 50_000 + "1",
        "".join(" " * depth + "if 1:\n" for depth in range(500)) + " " * 500 + "pass",
        "x = 0x" + "f" * 5_000,
        "x = " + "9" * 5_000,
        "x = '\ud800'",
        "x\0",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_program_that_no_parser_survives_is_refused_by_name_and_kills_nobody(text):
    with pytest.raises(BadInput, match=r"a\.py"):
        of(text)


@given(st.text())
def test_any_text_has_a_fingerprint_or_a_reason_why_not(text):
    try:
        assert len(of(text)) == 64
    except BadInput as refusal:
        assert "a.py" in str(refusal)
