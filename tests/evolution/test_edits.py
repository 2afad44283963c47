"""SEARCH/REPLACE edits: applied where they match once, refused with what is needed to mend them everywhere else."""

import time

import pytest
from asi_evolve.evolution.edits import apply_edits, parse_edits
from asi_evolve.evolution.errors import EditError
from hypothesis import assume, given
from hypothesis import strategies as st

PROGRAM = """\
import math


def area(radius):
    return math.pi * radius**2


def length(radius):
    return 2 * math.pi * radius
"""


def block(search, replace, path=None):
    header = f"{path}\n" if path else ""
    return f"{header}<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"


def edit(files, text):
    return apply_edits(files, parse_edits(text))


def refusal(files, text):
    with pytest.raises(EditError) as caught:
        edit(files, text)
    return str(caught.value)


def test_an_edit_replaces_the_one_place_that_matches():
    changed = edit({"a.py": PROGRAM}, block("    return math.pi * radius**2\n", "    return 0.0\n"))
    assert changed == {"a.py": PROGRAM.replace("    return math.pi * radius**2\n", "    return 0.0\n")}


def test_an_edit_can_delete_lines():
    assert edit({"a.py": "a\nb\nc\n"}, block("b\n", "")) == {"a.py": "a\nc\n"}


def test_edits_apply_one_after_the_other():
    assert edit({"a.py": "a\nb\n"}, block("a\n", "x\n") + "and then\n" + block("x\nb\n", "y\n")) == {"a.py": "y\n"}


def test_a_search_that_matches_nowhere_is_shown_the_nearest_text_and_its_line():
    message = refusal({"a.py": PROGRAM}, block("    return math.pi * radius ** 2\n", "    return 0\n"))
    assert "Edit 1" in message
    assert "a.py" in message
    assert "matched nowhere" in message
    assert "at line 5, is:\n    return math.pi * radius**2\n" in message


def test_a_search_that_resembles_nothing_is_refused_without_a_guess():
    assert "nearest" not in refusal({"a.py": PROGRAM}, block("zzzzzz qqqqqq\n", "x\n"))


def test_a_search_that_matches_several_times_is_told_how_often_and_where():
    message = refusal({"a.py": "x = 1\ny = 2\nx = 1\nx = 1\n"}, block("x = 1\n", "x = 3\n"))
    assert "matched 3 times, at lines 1, 3, 4" in message


def test_matches_that_overlap_count_as_several():
    assert "matched 2 times, at lines 1, 2" in refusal({"a.py": "a\na\na\n"}, block("a\na\n", "b\n"))


def test_the_last_line_counts_as_a_match_even_without_its_newline():
    assert "matched 2 times, at lines 1, 3" in refusal({"a.py": "x = 1\ny\nx = 1"}, block("x = 1\n", "x = 2\n"))


def test_nothing_is_changed_when_a_later_edit_fails():
    files = {"a.py": "a\nb\n"}
    assert "Edit 2" in refusal(files, block("a\n", "x\n") + block("missing\n", "y\n"))
    assert files == {"a.py": "a\nb\n"}


def test_the_path_on_the_line_before_chooses_the_file():
    files = {"a.py": "x = 1\n", "layers/b.py": "x = 1\n"}
    changed = edit(files, block("x = 1\n", "x = 2\n", "layers/b.py") + "\n" + block("x = 1\n", "x = 3\n", "`a.py`"))
    assert changed == {"a.py": "x = 3\n", "layers/b.py": "x = 2\n"}


def test_a_program_of_several_files_needs_a_path():
    message = refusal({"a.py": "x\n", "b.py": "x\n"}, block("x\n", "y\n"))
    assert "a.py, b.py" in message
    assert "no path" in message


def test_a_path_that_the_parent_lacks_is_refused_rather_than_made():
    message = refusal({"a.py": "x\n"}, block("x\n", "y\n", "c.py"))
    assert "(a.py)" in message
    assert "'c.py'" in message


def test_a_sentence_before_a_block_is_not_taken_for_a_path():
    assert edit({"a.py": "x\n"}, "Now change a.py so:\n\n" + block("x\n", "y\n")) == {"a.py": "y\n"}


def test_edits_sent_with_windows_line_ends_apply():
    assert edit({"a.py": "a\nb\n"}, block("a\nb\n", "c\n").replace("\n", "\r\n")) == {"a.py": "c\n"}


def test_a_parent_with_windows_line_ends_can_be_edited_and_its_other_files_stay():
    changed = edit({"a.py": "a\r\nb\r\nc\r\n", "b.txt": "x\r\n"}, block("a\nb\n", "z\n", "a.py"))
    assert changed["a.py"].split() == ["z", "c"]
    assert changed["b.txt"] == "x\r\n"


def test_the_last_line_of_a_file_without_a_final_newline_can_be_edited():
    assert edit({"a.py": "a\nb"}, block("b\n", "c\n")) == {"a.py": "a\nc"}
    assert edit({"a.py": "a\nb"}, block("a\n", "c\n")) == {"a.py": "c\nb"}
    assert edit({"a.py": "a\nb"}, block("a\nb\n", "c\nd\n")) == {"a.py": "c\nd"}


@pytest.mark.parametrize("search", ["", "\n", "   \n\n"])
def test_an_empty_search_is_refused_and_told_what_to_do(search):
    message = refusal({"a.py": "a\n\n   \n\n"}, block(search, "x\n"))
    assert "SEARCH is empty" in message
    assert "send the whole file" in message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "print('a program, not an edit')\n",
        "<<<<<<< SEARCH\na\n=======\nb\n",
        "a\n=======\nb\n>>>>>>> REPLACE\n",
        "<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n",
        block("a\n", "b\n") + "<<<<<<< SEARCH\nc\n",
        "<<<<<<< SEARCH\n" + block("a\n", "b\n"),
        block("a\n", "b\n") + ">>>>>>> REPLACE\n",
    ],
)
def test_markers_that_do_not_pair_up_are_refused_with_the_form(text):
    assert "<<<<<<< SEARCH\n<old text>\n=======\n<new text>\n>>>>>>> REPLACE" in refusal({"a.py": "a\n"}, text)


def test_a_block_with_a_second_line_of_equal_signs_is_refused_since_it_could_be_cut_at_either():
    program = '"""Title\n=====\n"""\nx = 1\n'
    assert "several" in refusal({"a.py": program}, block('"""Title\n=====\n"""\n', '"""Other"""\n'))


def test_edits_that_change_nothing_are_refused():
    assert "to change the parent" in refusal({"a.py": "a\n"}, block("a\n", "a\n"))
    assert "to change the parent" in refusal({"a.py": "a\r\nb\r\n"}, block("a\n", "a\n"))


@pytest.mark.parametrize(
    ("parent", "text"),
    [
        ("a\n", "<<<<<<< SEARCH\n" * 100_000),
        ("a" * 200_000, block("a" * 100_000 + "b\n", "c\n")),
        ("ab\n" * 50_000, block("ab\n" * 25_000, "b\n")),
        ("ab cd ef\n" * 20_000, block("ab cd eg\n" * 20_000, "b\n")),
    ],
    ids=["open", "long line", "many matches", "many near matches"],
)
def test_large_edits_are_refused_about_as_fast_as_small_ones(parent, text):
    started = time.process_time()
    assert "xpected" in refusal({"a.py": parent}, text)
    assert time.process_time() - started < 20, "quadratic work would take hours"


lines = st.lists(
    st.text(alphabet=st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=12), min_size=1, max_size=12
)


@given(lines, st.data(), lines, st.booleans())
def test_an_edit_made_of_any_unique_stretch_of_a_program_puts_the_new_text_in_its_place(
    old, data, new, ends_in_newline
):
    assume(not any(line.rstrip(" ") in {sign * n for sign in "=" for n in range(5, 10)} for line in old + new))
    first = data.draw(st.integers(0, len(old) - 1))
    last = data.draw(st.integers(first + 1, len(old)))
    whole = "".join(f"{line}\n" for line in old)
    search = "".join(f"{line}\n" for line in old[first:last])
    replace = "".join(f"{line}\n" for line in new)
    assume(search.strip() and search != replace)
    assume(sum(whole.startswith(search, at) for at in range(len(whole))) == 1)
    expected = "".join(f"{line}\n" for line in [*old[:first], *new, *old[last:]])
    if ends_in_newline:
        assert edit({"a.py": whole}, block(search, replace)) == {"a.py": expected}
    else:
        assume(not whole.endswith("\n\n"))
        assert edit({"a.py": whole[:-1]}, block(search, replace)) == {"a.py": expected[:-1]}
