"""The rubric of a domain: its form, with errors that name file and key."""

import shutil
from pathlib import Path

import pytest
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.errors import BadInput, DomainError
from asi_evolve.evolution.judging import Weighing

ESSAY_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "essay"
NUMBER_DOMAIN = Path(__file__).parent.parent / "domain_folders" / "number"


@pytest.fixture
def changed(tmp_path):
    def changed(old, new):
        folder = Path(shutil.copytree(ESSAY_DOMAIN, tmp_path / "essay"))
        text = (folder / "domain.toml").read_text()
        assert old in text
        (folder / "domain.toml").write_text(text.replace(old, new, 1))
        return folder

    return changed


def test_a_rubric_weighs_marks():
    rubric = load_domain(ESSAY_DOMAIN).spec.judge
    assert rubric.weighing == Weighing(0.25, 0.0, 40.0)
    assert rubric.span == 10.0
    assert rubric.quality(rubric.checked({"depth": 2, "clarity": 10})) == pytest.approx(0.4)
    with pytest.raises(BadInput, match="none for depth"):
        rubric.checked({"clarity": 10})


def test_a_domain_needs_none():
    assert load_domain(NUMBER_DOMAIN).spec.judge is None


def test_the_defaults_are_those_of_the_docs(changed):
    folder = changed("scale = [0, 10]\nmaps_to = [0.0, 40.0]\n", "")
    rubric = load_domain(folder).spec.judge
    assert (rubric.scale, rubric.maps_to, rubric.judges) == ((0, 10), (0, 1), ("agent", "endpoint"))
    assert rubric.criteria["clarity"].weight == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("weight = 0.25", "weight = 1.5", "judge.weight: Input should be less than or equal to 1"),
        ("weight = 0.25", "weight = nan", "judge.weight"),
        ("weight = 0.25\n", "", "judge.weight: Field required"),
        ("scale = [0, 10]", "scale = [10, 0]", "expected the lower number first, but got [10, 0]"),
        ("scale = [0, 10]", "scale = [5, 5]", "expected the lower number first"),
        ("scale = [0, 10]", "scale = [0, inf]", "judge.scale.1"),
        ("scale = [0, 10]", "scale = [0, 5, 10]", "judge.scale"),
        ("maps_to = [0.0, 40.0]", "maps_to = [40.0, 0.0]", "judge.maps_to: expected the lower number first"),
        ("weight = 3", "weight = 0", "judge.criteria.depth.weight: Input should be greater than 0"),
        ("weight = 3", "wieght = 3", "judge.criteria.depth.wieght: Extra inputs are not permitted"),
        ("criteria.depth", 'criteria."De pth"', "judge.criteria.De pth"),
        ("weight = 0.25", "weight = 0.25\njudges = []", "judge.judges"),
        ("weight = 0.25", 'weight = 0.25\njudges = ["human"]', "judge.judges.0"),
        ('description = "10: it says something new. 0: it says nothing."', "", "judge.criteria.depth.description"),
    ],
)
def test_a_rubric_that_cannot_work_is_refused_by_file_and_key(changed, old, new, told):
    with pytest.raises(DomainError) as refused:
        load_domain(changed(old, new))
    assert "domain.toml: " in str(refused.value)
    assert told in str(refused.value)
