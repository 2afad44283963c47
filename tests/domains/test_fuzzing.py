"""What check-domain makes of honest outputs: form kept where only values change, and nothing left out or made twice."""

import io
import json
import math

import numpy as np
import pytest
from asi_evolve.domains.contract import OutputSpec
from asi_evolve.domains.fuzzing import SCALES, Expectation, kind_of, mutants
from asi_evolve.domains.fuzzing_arrays import npz
from asi_evolve.sandbox.jobs import ArrayRule
from asi_evolve.sandbox.outputs import Refused, check_npz

ARRAYS = {
    "points": np.linspace(-1.0, 2.0, 12).reshape(6, 2),
    "weights": np.array([0.5, 0.25], np.float32),
    "claimed": np.array(3.5),
    "counts": np.array([1, 2, 3], np.int64),
    "pixels": np.arange(4, dtype=np.uint8),
    "chosen": np.array([True, False]),
}


def arrays_output(**changed):
    rules = {name: {"dtype": array.dtype.name, "shape": array.shape} for name, array in ARRAYS.items()}
    for name, more in changed.items():
        rules[name] |= more
    return OutputSpec.model_validate({"file": "a.npz", "max_bytes": 10**6, "arrays": rules})


def made(output, data):
    """Mutants by what they do."""
    found = list(mutants({"it": output}, {output.file: data}))
    names = [mutant.name.removeprefix(f"{output.file}: ") for mutant in found]
    assert len(names) == len(set(names))
    return dict(zip(names, found, strict=True))


def json_made(document):
    output = OutputSpec(file="a.json", max_bytes=10**5)
    return made(output, json.dumps(document).encode())


def loaded(mutant):
    with np.load(io.BytesIO(mutant.make()), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def form_is_declared(data, tmp_path):
    rules = {name: ArrayRule(array.dtype.name, array.shape) for name, array in ARRAYS.items()}
    (tmp_path / "a.npz").write_bytes(data)
    try:
        check_npz(tmp_path / "a.npz", rules)
    except Refused:
        return False
    return True


def test_a_file_of_arrays_either_keeps_its_form_and_changes_a_value_or_is_refused_by_its_form(tmp_path):
    honest = npz(ARRAYS)
    assert form_is_declared(honest, tmp_path)
    found = made(arrays_output(), honest)
    keeping = {name for name, mutant in found.items() if (data := mutant.make()) and form_is_declared(data, tmp_path)}
    for name, mutant in found.items():
        if name in keeping:
            arrays = loaded(mutant)
            assert any(arrays[key].tobytes() != ARRAYS[key].tobytes() for key in ARRAYS), name
        else:
            assert mutant.expectation is Expectation.REFUSED, name
    assert {"points NaN at [0, 0]", "points NaN at [5, 1]", "claimed all inf", "weights negated"} <= keeping
    broken = {"empty", "cut off", "random bytes", "points as pickled objects", "points as float32", "points twice"}
    broken |= {"points missing", "an array more", "claimed with a dimension more", "counts one longer"}
    assert broken | {"a header that claims 10**12 elements"} <= set(found) - keeping


def test_nothing_that_is_not_finite_may_be_scored_unless_the_array_says_so(tmp_path):
    for output, expected in (
        (arrays_output(), Expectation.REFUSED),
        (arrays_output(points={"allow_nonfinite": True}), Expectation.NO_GAIN),
    ):
        for name, mutant in made(output, npz(ARRAYS)).items():
            data = mutant.make()
            if mutant.nudge is None and data and form_is_declared(data, tmp_path):
                broken = [
                    key
                    for key, array in loaded(mutant).items()
                    if array.dtype.kind == "f" and not np.isfinite(array).all()
                ]
                if broken == ["points"] or len(broken) > 1:
                    assert mutant.expectation is expected, name
                elif broken:
                    assert mutant.expectation is Expectation.REFUSED, name
                else:
                    assert mutant.expectation is not Expectation.REFUSED, name


@pytest.mark.parametrize(
    ("name", "key", "values"),
    [
        ("counts all 9223372036854775807", "counts", [2**63 - 1] * 3),
        ("counts -9223372036854775808 at [1]", "counts", [1, -(2**63), 3]),
        ("pixels all 255", "pixels", [255] * 4),
        ("chosen inverted", "chosen", [False, True]),
        ("weights all 0", "weights", [0.0, 0.0]),
        ("claimed all 1e+308", "claimed", 1e308),
        ("points all denormal", "points", [[5e-324] * 2] * 6),
    ],
)
def test_values_are_what_their_names_say(name, key, values):
    assert loaded(made(arrays_output(), npz(ARRAYS))[name])[key].tolist() == values


def test_floats_are_moved_by_more_and_more_in_both_directions():
    nudged = [mutant for mutant in made(arrays_output(), npz(ARRAYS)).values() if mutant.nudge]
    amounts = [mutant.nudge.amount for mutant in nudged if mutant.name.startswith("a.npz: claimed ")]
    assert sorted(amounts) == sorted([*SCALES, *(-scale for scale in SCALES)])
    for mutant in nudged:
        if mutant.name.startswith("a.npz: claimed "):
            assert loaded(mutant)["claimed"] == 3.5 * (1 + mutant.nudge.amount)
    single = {abs(mutant.nudge.amount) for mutant in nudged if "weights" in mutant.name}
    assert single == {1e-7, 1e-6, 1e-5, 1e-3}  # single precision cannot tell smaller ones from none


def test_a_place_in_json_gets_every_token_and_the_rest_stays():
    found = json_made({"x": [1.5, 2.5, 3.5], "name": "a"})
    for token, read in (("NaN", math.nan), ("1e999", math.inf), ('"nan"', "nan"), ("[1.5]", [1.5]), ("null", None)):
        document = json.loads(found[f".x[0] is {token}"].make())
        assert repr(document) == repr({"x": [read, 2.5, 3.5], "name": "a"})
    assert json.loads(found[".x[2] is 10**400"].make())["x"][2] == 10**400
    assert not any(name.startswith(".x[1]") for name in found)  # the first and the last of a list stand for all
    strict = {"NaN", "Infinity", "-Infinity", "1e999", "-1e999", '"nan"'}
    assert all(found[f".x[0] is {token}"].expectation is Expectation.REFUSED for token in strict)
    assert json.loads(found["all numbers negated"].make())["x"] == [-1.5, -2.5, -3.5]
    assert found["without .x"].make() == b'{"name": "a"}'
    assert json.loads(found['"x" twice'].make(), object_pairs_hook=list)[0] == ("x", None)
    assert json.loads(found[".x with its last item twice"].make())["x"] == [1.5, 2.5, 3.5, 3.5]


def test_a_large_table_in_json_is_tried_at_its_ends():
    found = json_made({"of": {f"id{number}": {"score": number / 2} for number in range(1000)}})
    assert {name.split(" is ")[0] for name in found if " is " in name} == {".of.id0.score", ".of.id999.score"}


def test_json_of_one_number():
    found = json_made(1.5)
    assert found["the number is NaN"].make() == b"NaN"
    assert found["0 for the whole"].expectation is Expectation.NO_GAIN
    assert found["[] for the whole"].expectation is Expectation.REFUSED
    assert len(found["50000 lists in each other"].make()) == 10**5


def test_a_table_of_numbers_gets_words_that_float_reads():
    found = made(OutputSpec(file="a.csv", max_bytes=1000), b"x,y\n1,2.5\n3,4\n")
    assert found["number 0 is nan"].make() == b"x,y\nnan,2.5\n3,4\n"
    assert found["number 3 is 1e999"].make() == b"x,y\n1,2.5\n3,1e999\n"
    assert found["all numbers negated"].make() == b"x,y\n-1,-2.5\n-3,-4\n"
    assert found["times 1 +0.001"].make() == f"x,y\n1,{2.5 * 1.001!r}\n3,4\n".encode()


@pytest.mark.parametrize(
    ("file", "data", "kind"),
    [
        ("a.json", b"1", "json"),
        ("answer", b'{"a": 1}', "json"),
        ("answer.txt", b"42", "numbers"),
        ("a.csv", b"x,y\n1,2\n", "numbers"),
        ("a.txt", b"a story of 3 words", "text"),
        ("a.json", b"{broken", "text"),
        ("a.bin", b"\xff\x00", "bytes"),
        ("a.bin", b"\x00", "bytes"),
        ("a.npz", npz({"x": np.zeros(2)}), "arrays"),
    ],
)
def test_what_a_file_holds_is_told_from_its_content(file, data, kind):
    assert kind_of(OutputSpec(file=file, max_bytes=100), data) == kind


def test_a_text_cut_off_is_not_taken_for_broken_where_it_may_be_whole():
    assert "cut off" not in json_made(7)
    found = made(OutputSpec(file="a.txt", max_bytes=100), b"42")
    assert (found["cut off"].make(), found["cut off"].expectation) == (b"4", Expectation.NO_GAIN)


def test_without_declared_arrays_another_type_is_no_fault_but_a_pickle_is():
    found = made(OutputSpec(file="a.npz", max_bytes=10**6), npz(ARRAYS))
    assert found["points as float32"].expectation is Expectation.NO_GAIN
    assert found["points as pickled objects"].expectation is Expectation.REFUSED


def test_an_optional_output_that_the_run_left_out_is_left_alone_and_one_that_it_left_may_be_missing():
    output = OutputSpec(file="a.json", max_bytes=100, required=False)
    assert list(mutants({"it": output}, {})) == []
    missing = made(output, b"1")["missing"]
    assert (missing.make(), missing.expectation) == (None, Expectation.PLAUSIBLE)


def test_the_same_garbage_is_made_every_time():
    first, again = json_made([1])["random bytes"], json_made([1])["random bytes"]
    assert first.make() == again.make()
    with pytest.raises(UnicodeDecodeError):
        first.make().decode()
