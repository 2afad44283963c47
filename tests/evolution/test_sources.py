"""Sources: every written form of a reference is one, what only looks like one is refused, words stay words."""

import pytest
from asi_evolve.evolution.errors import BadInput
from asi_evolve.evolution.sources import arxiv_id, canonical_source, identifies
from hypothesis import example, given
from hypothesis import strategies as st

FORMS = {
    "arxiv:2406.06484": [
        "2406.06484",
        "arXiv:2406.06484",
        "ARXIV: 2406.06484v3",
        "arxiv.org/abs/2406.06484",
        "https://arxiv.org/abs/2406.06484v2",
        "http://www.arxiv.org/pdf/2406.06484v1.pdf",
        "https://arxiv.org/pdf/2406.06484",
        "https://arxiv.org/html/2406.06484v1#S3",
        "https://export.arxiv.org/abs/2406.06484?context=cs",
        "10.48550/arXiv.2406.06484",
        "https://doi.org/10.48550/ARXIV.2406.06484",
        "doi:10.48550/arXiv.2406.06484",
    ],
    "arxiv:0704.0001": ["arXiv:0704.0001"],
    "arxiv:math/0211159": ["math/0211159", "arXiv:math.DG/0211159v1", "https://arxiv.org/abs/math/0211159"],
    "arxiv:cond-mat/9803344": ["arXiv:cond-mat/9803344", "https://arxiv.org/pdf/cond-mat/9803344.pdf"],
    "doi:10.1038/nature14236": [
        "10.1038/nature14236",
        "DOI: 10.1038/Nature14236",
        "https://doi.org/10.1038/nature14236",
        "http://dx.doi.org/10.1038/nature14236.",
        "doi.org/10.1038/nature14236",
    ],
    "doi:10.1002/(sici)1097-0258(19980815)17:15<1661": [
        "https://doi.org/10.1002/(SICI)1097-0258(19980815)17:15%3C1661"
    ],
    "https://example.org/Paper?q=1#part": ["HTTPS://Example.ORG:443/Paper?q=1#part"],
    "http://example.org": ["http://example.org/", "http://EXAMPLE.org:80"],
    "https://example.org:8443/a": ["https://example.org:8443/a"],
    "own observation": [" own \n observation "],
    "Knuth, The Art of Computer Programming, vol. 4A": ["Knuth, The Art of Computer Programming, vol. 4A"],
    "experiments: e17 and e18": ["experiments: e17 and e18"],
}
BROKEN = [
    "arxiv:2406",
    "arXiv:2413.00001",
    "arXiv:2406.06484, section 3",
    "arxiv:maths/0211159",
    "doi:nature14236",
    "doi:10.12/x",
    "https://",
    "https:///path",
    "https://user:secret@example.org/",
    "https://[::1",
    "ftp://example.org/paper",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/html,x",
]


@pytest.mark.parametrize(("canonical", "form"), [(name, form) for name, forms in FORMS.items() for form in forms])
def test_every_form_is_one_source(canonical, form):
    assert canonical_source(form) == canonical


@pytest.mark.parametrize("text", BROKEN)
def test_what_claims_to_be_a_reference_and_is_none_is_refused_without_secrets(text):
    with pytest.raises(BadInput, match="Expected") as caught:
        canonical_source(text)
    assert "Give the id alone" in str(caught.value) or "without a user or password" in str(caught.value)


def test_an_arxiv_id_is_told_from_other_numbers():
    assert arxiv_id("https://arxiv.org/abs/2406.06484v2") == "2406.06484"
    for text in ("3.14159", "2400.00001", "data/0211159", "https://example.org/2406.06484", "2406.06484 and others"):
        assert arxiv_id(text) is None, text


def test_words_name_no_work():
    assert identifies("arxiv:2406.06484")
    assert identifies("https://example.org/a")
    assert not identifies("own observation")


@given(st.text(max_size=80) | st.sampled_from([form for forms in FORMS.values() for form in forms]))
@example("https://doi.org/10.1234/%2525")
@example("10.1234/..")
@example("doi.org/10.1234/%00")
@example("https://doi.org/10.1234/a%20b")
@example("https://İ.org/")
def test_a_canonical_source_is_its_own_canonical_form(text):
    try:
        canonical = canonical_source(text)
    except BadInput:
        return
    assert canonical_source(canonical) == canonical
    assert canonical == " ".join(canonical.split())
