"""Which candidates are called nearly the same: pairs with a label, from the demo's lineage and from mutations of it."""

import ast
import re

import pytest
from asi_evolve.domains.loader import find_domain
from asi_evolve.evolution.edits import apply_edits, parse_edits
from asi_evolve.evolution.novelty.likeness import Profile, compare, text_likeness
from asi_evolve.evolution.novelty.nearness import FEW_NUMBERS, SAME_MOTIVATION, motivation_decides, nearly_equal
from asi_evolve.evolution.novelty.outline import outline_of
from asi_evolve.server.demo.script import rounds

ENTRY = "packing.py"
INTERFACE = ("construct_packing",)
ROUNDS = {entry.name: entry for entry in rounds()}


def program_of(name):
    """A program of the demo's lineage."""
    if name == "baseline":
        return find_domain("circle_packing").baseline[ENTRY]
    entry = ROUNDS[name]
    if entry.form == "code":
        return entry.text()
    return apply_edits({ENTRY: program_of(entry.parent)}, parse_edits(entry.text()))[ENTRY]


def profile(text):
    return Profile(outline_of({ENTRY: text}, INTERFACE))


def changed(*edits, text=None):
    """The program `row_starts` with every old text replaced by the new one."""
    text = program_of("row_starts") if text is None else text
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


def renamed(**names):
    text = program_of("row_starts")
    for old, new in names.items():
        assert re.search(rf"\b{old}\b", text)
        text = re.sub(rf"\b{old}\b", new, text)
    return text


def reordered():
    head, *definitions = program_of("row_starts").split("\n\n\n")
    return "\n\n\n".join([head, *reversed(definitions)])


RENAMED = {
    "local names": lambda: renamed(step="width", gain="progress", near="close"),
    "functions and constants": lambda: renamed(climb="ascend", N="COUNT", radii_that_hold="shrink"),
    "a parameter": lambda: renamed(room="left_over"),
    "an import": lambda: renamed(np="numpy_"),
    "other layout": lambda: ast.unparse(ast.parse(program_of("row_starts"))),
    "comments": lambda: "# new\n" + changed(("    rng =", "    # first of all\n    rng =")),
    "docstrings": lambda: changed(('"""Five rows', '"""Five lines')),
}
NEAR = {
    "one number": lambda: changed(("SHAKE = 0.02", "SHAKE = 0.03")),
    "three numbers": lambda: changed(
        ("SHAKE = 0.02", "SHAKE = 0.03"), ("STARTS = 80", "STARTS = 120"), ("SEED = 24", "SEED = 7")
    ),
    "a number and names": lambda: changed(("= 0.02", "= 0.05"), text=renamed(climb="ascend", gain="progress")),
    "other order of the definitions": reordered,
    "a function that nothing calls": lambda: (
        changed() + "\n\ndef unused(a, b):\n    return np.sqrt(a * b) + len(FIRST)\n"
    ),
    "functions that only call each other": lambda: (
        changed() + "\n\ndef a():\n    return b()\n\n\ndef b():\n    return a()\n"
    ),
    "a constant that nothing uses": lambda: changed(("SHAKE = 0.02", "SHAKE = 0.02\nTOLERANCE = 1e-9")),
    "an import that nothing uses": lambda: changed(("import numpy as np", "import math\nimport numpy as np")),
    "annotations": lambda: changed(
        (
            "def climb(centers, step=0.1, finest=0.01):",
            "def climb(centers: list, step: float = 0.1, finest=0.01) -> tuple:",
        )
    ),
    "an annotated variable": lambda: changed(("radii = np.zeros(N)\n", "radii: np.ndarray = np.zeros(N)\n")),
    "an assignment written out": lambda: changed(("step /= 2.5", "step = step / 2.5")),
    "a name for a value": lambda: changed(
        ("    if answer.x is None:", "    solution = answer.x\n    if solution is None:")
    ),
}
NEW = {
    "another operator": lambda: changed(("gain > 0", "gain >= 0")),
    "another function of a library": lambda: changed(("= max(map", "= min(map")),
    "another method by its name": lambda: changed(('method="highs"', 'method="highs-ipm"')),
    "operands exchanged": lambda: changed(
        ("delta = centers[FIRST] - centers[SECOND]\n    gaps", "delta = centers[SECOND] - centers[FIRST]\n    gaps")
    ),
    "another of its own functions": lambda: changed(
        ("radii = radii_that_hold(centers, radii)", "radii = climb(centers, radii)")
    ),
    "a loop around a step": lambda: changed(
        (
            "    radii = radii_that_hold(centers, radii)\n",
            "    for _ in range(3):\n        centers, radii = climb(centers)\n"
            "    radii = radii_that_hold(centers, radii)\n",
        )
    ),
    "what was dead is called": lambda: changed(
        ("    rng = np", "    shake()\n    rng = np"),
        ("def climb", "def shake():\n    np.random.seed(1)\n\n\ndef climb"),
    ),
}


@pytest.mark.parametrize("label", RENAMED)
def test_a_program_with_other_names_and_layout_is_the_same(label):
    mine, theirs = profile(RENAMED[label]()), profile(program_of("row_starts"))
    assert mine.outline.canonical == theirs.outline.canonical
    assert nearly_equal(compare(mine, theirs))


@pytest.mark.parametrize("label", NEAR)
def test_a_program_that_does_the_same_steps_is_near_and_not_the_same(label):
    mine, theirs = profile(NEAR[label]()), profile(program_of("row_starts"))
    assert mine.outline.canonical != theirs.outline.canonical
    assert nearly_equal(compare(mine, theirs))
    assert nearly_equal(compare(theirs, mine))


@pytest.mark.parametrize("label", NEW)
def test_a_program_with_another_step_is_new(label):
    mine, theirs = profile(NEW[label]()), profile(program_of("row_starts"))
    assert mine.outline.canonical != theirs.outline.canonical
    assert not nearly_equal(compare(mine, theirs))


@pytest.mark.parametrize("name", ROUNDS)
def test_no_real_improvement_of_the_demo_is_near_its_parent(name):
    mine, parent = profile(program_of(name)), profile(program_of(ROUNDS[name].parent))
    assert not nearly_equal(compare(mine, parent))
    assert not nearly_equal(compare(mine, parent), motivation=1.0), "nor with the motivation of its parent"


def test_no_program_of_the_demo_is_near_any_other():
    profiles = {name: profile(program_of(name)) for name in ["baseline", *ROUNDS]}
    near = [
        (one, other)
        for one in profiles
        for other in profiles
        if one != other and nearly_equal(compare(profiles[one], profiles[other]), motivation=1.0)
    ]
    assert near == []


@pytest.mark.parametrize("label", ["another operator", "another method by its name", "a loop around a step"])
def test_a_small_step_for_the_same_reason_is_a_variation(label):
    found = compare(profile(NEW[label]()), profile(program_of("row_starts")))
    assert motivation_decides(found)
    assert nearly_equal(found, motivation=0.9)


def test_exchanged_operands_are_a_new_program_whatever_the_motivation():
    found = compare(profile(NEW["operands exchanged"]()), profile(program_of("row_starts")))
    assert not nearly_equal(found, motivation=1.0)


@pytest.mark.parametrize("count", [FEW_NUMBERS, FEW_NUMBERS + 1])
def test_a_few_numbers_are_a_tuning_and_a_table_of_others_is_another_solution(count):
    table = [f"{place}.5" for place in range(40)]
    other = [f"{place}.25" if place < count else number for place, number in enumerate(table)]
    one, two = (profile(f"def construct_packing():\n    return [{', '.join(entry)}]\n") for entry in (table, other))
    assert nearly_equal(compare(one, two)) == (count <= FEW_NUMBERS)


def test_motivations_of_the_demo_are_far_apart_and_an_edited_one_is_not():
    texts = [entry.motivation for entry in ROUNDS.values()]
    alike = [text_likeness(one, other) for place, one in enumerate(texts) for other in texts[:place]]
    assert max(alike) < 0.2
    for text in texts:
        assert text_likeness(text, f"{text.upper()} Again!") >= SAME_MOTIVATION
        assert text_likeness(text, text) == 1.0
