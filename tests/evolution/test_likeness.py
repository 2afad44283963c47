"""How alike two programs are: whatever is no step of the program does not count."""

import ast
import os
import random
import subprocess
import sys

import pytest
from asi_evolve.evolution.novelty.likeness import Profile, compare, steps_changed
from asi_evolve.evolution.novelty.nearness import nearly_equal
from asi_evolve.evolution.novelty.outline import MAX_TOKENS, Outline, outline_of
from asi_evolve.evolution.novelty.sketch import BITS
from hypothesis import given, settings
from hypothesis import strategies as st

STATEMENTS = (
    "{a} = {b} + {n}",
    "{a} = {b} * {a} - {n}",
    "{a} = max({a}, {b})",
    "for {a} in range({n}):\n        {b} += {a}",
    "if {a} < {b}:\n        {a} = {n}",
    "{a} = [{b} for {b} in ({a}, {n})]",
    "{a} = (lambda x: x ** {n})({a})",
    "while {a} > {n}:\n        {a} = {a} // 2",
    "{a} = {f}({b}, {n})",
)
rule = settings(max_examples=40, deadline=None)
statements = st.tuples(
    st.integers(0, len(STATEMENTS) - 1), st.integers(0, 4), st.integers(0, 4), st.integers(0, 9), st.integers(0, 99)
)
programs = st.lists(st.lists(statements, min_size=1, max_size=8), min_size=1, max_size=6)


def written(program, *, local="v", top="f", docstrings=False, comments=False, order=None):
    """A program as text; its first function is the one that is called from outside."""
    functions = []
    for place, body in enumerate(program):
        lines = [f"def {'main' if place == 0 else f'{top}{place}'}():"]
        lines += [f'    """Number {place}."""'] if docstrings else []
        lines.append(f"    {' = '.join(f'{local}{number}' for number in range(5))} = 0")
        for kind, one, other, function, value in body:
            lines += ["    # a step"] if comments else []
            called = function % len(program)
            name = "main" if called == 0 else f"{top}{called}"
            lines.append(
                "    " + STATEMENTS[kind].format(a=f"{local}{one}", b=f"{local}{other}", f=name, n=value / 4 + 1)
            )
        functions.append("\n".join([*lines, f"    return {local}0"]))
    # Every function is used, so that none is code that nothing calls.
    uses = "\n".join(f"{top}{place}" for place in range(1, len(program)))
    return "\n\n\n".join([*(order(functions) if order else functions), uses]) + "\n"


def profile(text):
    return Profile(outline_of({"main.py": text}, ("main",)))


def same_program(one, other):
    return profile(one).outline.canonical == profile(other).outline.canonical


@rule
@given(programs)
def test_other_names_layout_comments_and_docstrings_make_the_same_program(program):
    text = written(program)
    assert same_program(text, written(program, local="other", top="helper"))
    assert same_program(text, written(program, docstrings=True, comments=True))
    assert same_program(text, ast.unparse(ast.parse(text)).replace("    ", "  "))


@rule
@given(programs, st.randoms(use_true_random=False))
def test_the_order_of_the_functions_does_not_count(program, chance):
    text = written(program)
    other = written(program, order=lambda functions: chance.sample(functions, len(functions)))
    found = compare(profile(text), profile(other))
    assert (found.likeness, found.form, found.steps, found.numbers_changed) == (1.0, 1.0, 0, 0)


@rule
@given(programs, programs)
def test_likeness_is_symmetric_and_between_zero_and_one(one, other):
    first, second = profile(written(one)), profile(written(other))
    there, back = compare(first, second), compare(second, first)
    assert (there.likeness, there.form, there.steps) == (back.likeness, back.form, back.steps)
    assert there.numbers == back.numbers[::-1]
    assert there.rewired == back.rewired
    assert 0.0 <= there.likeness <= 1.0
    assert 0.0 <= there.form <= 1.0
    assert nearly_equal(there) == nearly_equal(back)
    assert there.steps == steps_changed(first, second)


@rule
@given(programs, st.lists(programs, max_size=4))
def test_a_program_is_nearest_to_itself(program, others):
    mine = profile(written(program))
    itself = compare(mine, profile(written(program, local="w")))
    assert itself.likeness == 1.0
    assert nearly_equal(itself)
    assert all(compare(mine, profile(written(other))).likeness <= 1.0 for other in others)
    assert mine.sketch == profile(written(program, local="w")).sketch


@rule
@given(programs, st.data())
def test_one_other_number_is_a_tuning(program, data):
    place = data.draw(st.integers(0, len(program) - 1))
    line = data.draw(st.integers(0, len(program[place]) - 1))
    other = [list(body) for body in program]
    other[place][line] = (*other[place][line][:4], other[place][line][4] + 1000)
    found = compare(profile(written(program)), profile(written(other)))
    assert found.steps == 0
    assert found.form == 1.0
    assert found.numbers_changed <= 1
    assert nearly_equal(found)


@rule
@given(programs, st.data())
def test_a_step_more_is_seen(program, data):
    other = [list(body) for body in program]
    other[data.draw(st.integers(0, len(program) - 1))].append(data.draw(statements))
    found = compare(profile(written(program)), profile(written(other)))
    assert found.steps > 0
    assert not nearly_equal(found)


@rule
@given(programs)
def test_an_outline_comes_back_as_it_was_stored(program):
    outline = profile(written(program)).outline
    assert Outline.unpacked(outline.canonical, outline.packed()) == outline


@rule
@given(st.text())
def test_any_text_has_an_outline(text):
    outline = outline_of({"notes.txt": text, "more/notes.md": text})
    found = compare(Profile(outline), Profile(Outline.unpacked(outline.canonical, outline.packed())))
    assert found.likeness == 1.0


def test_files_that_are_not_python_are_compared_word_by_word():
    words = [f"word{place}" for place in range(200)]
    one = Profile(outline_of({"a.cu": " ".join(words) + " 0.5"}))
    tuned = Profile(outline_of({"a.cu": "\n".join(words) + " 0.75"}))
    other = Profile(outline_of({"a.cu": " ".join(["word0", "new", *words[2:]]) + " 0.5"}))
    assert nearly_equal(compare(tuned, one))
    assert not nearly_equal(compare(other, one))
    assert compare(other, one).likeness > 0.9


def test_the_share_of_equal_bits_tells_the_likeness():
    chance = random.Random(0)
    program = [
        [(chance.randrange(8), *(chance.randrange(5) for _ in range(2)), 0, chance.randrange(100)) for _ in range(8)]
        for _ in range(60)
    ]
    mine = profile(written(program))
    told = []
    for changed in (0, 2, 6, 15, 30, 60):
        other = [
            [(1 + kind, a, b, f, n + 100) for kind, a, b, f, n in body] if place < changed else body
            for place, body in enumerate(program)
        ]
        theirs = profile(written(other))
        differing = (int.from_bytes(mine.sketch, "little") ^ int.from_bytes(theirs.sketch, "little")).bit_count()
        both = {*mine.shingles, *mine.form_shingles}, {*theirs.shingles, *theirs.form_shingles}
        jaccard = len(both[0] & both[1]) / len(both[0] | both[1])
        told.append((jaccard, differing / BITS))
    assert told[0] == (1.0, 0.0)
    assert all(abs((1 - jaccard) / 2 - share) < 0.1 for jaccard, share in told)
    assert [share for _, share in told] == sorted(share for _, share in told)


def test_a_sketch_is_the_same_in_every_process():
    text = "def main():\n    return sorted('abc')\n"
    program = (
        "from asi_evolve.evolution.novelty.likeness import Profile\n"
        "from asi_evolve.evolution.novelty.outline import outline_of\n"
        f"profile = Profile(outline_of({{'main.py': {text!r}}}, ('main',)))\n"
        "print(profile.sketch.hex(), profile.outline.canonical)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{profile(text).sketch.hex()} {profile(text).outline.canonical}\n"}


@pytest.mark.parametrize("path", ["big.py", "big.txt"])
def test_a_huge_program_is_known_by_its_beginning_and_never_called_near(path):
    line = "x = [1, 2, 3]  # one of many lines\n"
    one, other = ({path: line * 12_500 + end} for end in ("y = 1\n", "y = 2\n"))
    mine, theirs = Profile(outline_of(one)), Profile(outline_of(other))
    assert sum(len(definition.tokens) for definition in mine.outline.definitions) <= MAX_TOKENS
    assert compare(mine, theirs).likeness == 1.0
    assert not nearly_equal(compare(mine, theirs))
    assert mine.outline.canonical != theirs.outline.canonical
