"""Knowledge as YAML: what is written is read again, and no file can hurt the reader."""

import pytest
import yaml
from asi_evolve.domains.cognition_file import SeedCognition, read_items, written_items
from asi_evolve.evolution.errors import BadInput, DomainError
from asi_evolve.evolution.knowledge import checked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GOOD = "- {title: T, body: B, source: own observation}\n"
LAUGHS = "- &a [x, x]\n" + "".join(f"- &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20))


def refusal(tmp_path, content):
    path = tmp_path / "items.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DomainError) as caught:
        read_items(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


texts = st.text(min_size=1, max_size=120) | st.from_regex(r"[ \n\t:#|>&*!%@`'\"\-\[\]{},?]{1,30}x", fullmatch=True)
short = st.text(min_size=1, max_size=30)
sources = st.sampled_from(["arxiv:2406.06484", "doi:10.1/a#b", "https://example.org/#x", "yes", "no: yes", "1.5", "~"])


@st.composite
def items(draw):
    try:
        return checked(
            title=draw(texts),
            body=draw(texts),
            symptom=draw(st.text(max_size=60)),
            sources=draw(st.lists(sources, min_size=1, max_size=3)),
            tags=draw(st.lists(short, max_size=4)),
            where="the item",
        )
    except BadInput:
        return None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(items().filter(bool), max_size=4))
def test_what_is_written_is_read_again_and_written_the_same(tmp_path, given_items):
    path = tmp_path / "items.yaml"
    written = written_items([SeedCognition.of(item) for item in given_items])
    path.write_text(written, encoding="utf-8", newline="")
    read = read_items(path)
    assert [item.knowledge for item in read] == given_items
    assert written_items(read) == written


def test_what_is_written_is_plain_to_a_reader(tmp_path):
    item = SeedCognition(title="A: b", body="One.\n  Two: ü\n", source="arXiv:2406.06484v2", tags=("x", "y z"))
    assert written_items([SeedCognition.of(item.knowledge)]) == (
        "- title: 'A: b'\n  body: |-\n    One.\n      Two: ü\n  source: arxiv:2406.06484\n  tags: [x, y z]\n"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LAUGHS, "line 1: expected plain YAML, but got an anchor or alias"),
        ("- &a\n  title: T\n  body: B\n  source: s\n- *a\n", "anchor or alias"),
        ("- {<<: *b, title: T}\n", "anchor or alias"),
        ("[" * 100_000, "line 1: expected a list of items, but it is nested more deeply"),
        ("- " * 100_000, "nested more deeply"),
        (GOOD + "- {title: T, body: !!python/object/apply:os.system [true], source: s}\n", "python/object"),
        (GOOD + "- {title: !!python/name:os.system , body: B, source: s}\n", "python/name"),
        (GOOD + "- {title: T, body: B, source: 2024-13-45}\n", "expected YAML, but month must be in"),
        (GOOD + f"- {{title: {'9' * 9000}, body: B, source: s}}\n", "expected YAML"),
        (f"- {{title: T, body: {'b' * 100_000}, source: s}}\n", "texts of at most 20000 characters"),
        (GOOD + "- {title: T, body: ' ', source: s}\n", "item 2: Expected body of the item to say something"),
        (GOOD + "- {title: T, body: B, source: 'arxiv:1'}\n", "item 2: source of the item: Expected a source"),
        (GOOD + "- {title: 5, body: B, source: s}\n", "item 2: title: Input should be a valid string"),
        (GOOD + "- {title: T, source: s}\n", "item 2: body: Field required"),
        (GOOD + "- {title: T, body: B, source: s, origin: seed}\n", "item 2: origin: Extra inputs"),
        (GOOD + "- {title: T, body: B, source: s, tags: [[a]]}\n", "item 2: tags.0: Input should be a valid string"),
        (GOOD + "- {title: T, body: B, source: s, tags: x}\n", "item 2: tags: Input should be a valid tuple"),
        (GOOD + "- plain words\n", "item 2: the item: Input should be a valid dictionary"),
        ("title: T\n", "expected a list of items, but got dict"),
        ("- a: b: c\n", "expected YAML"),
        (b"- title: \xff\xfe\n", "expected UTF-8"),
        (b"- title: a\x00b\n", "expected YAML"),
        ("- a\n---\n- b\n", "expected YAML"),
    ],
)
def test_what_is_no_list_of_items_is_refused_with_its_place(tmp_path, content, said):
    assert said in refusal(tmp_path, content)


def test_characters_that_act_are_taken_out(tmp_path):
    path = tmp_path / "items.yaml"
    path.write_text('- {title: "a\\u202eb\\e[2Jc", body: "x\\u200by\\0", source: "own\\u2028words"}\n')
    (item,) = read_items(path)
    assert (item.title, item.body, item.source) == ("ab[2Jc", "xy", "ownwords")


def test_a_file_of_a_hundred_megabytes_is_refused_without_being_read(tmp_path):
    path = tmp_path / "items.yaml"
    with path.open("wb") as stream:
        stream.truncate(100_000_000)
    with pytest.raises(DomainError, match=r"expected at most 10000000 bytes.*Split it"):
        read_items(path)


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(DomainError, match="expected to read this file"):
            read_items(path)


def test_the_reader_without_the_c_library_refuses_the_same(tmp_path, monkeypatch):
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert "anchor or alias" in refusal(tmp_path, LAUGHS)
    assert "nested more deeply" in refusal(tmp_path, "[" * 300)
    assert "python/name" in refusal(tmp_path, "- {title: !!python/name:os.system , body: B, source: s}\n")
