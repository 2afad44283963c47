"""An `.npz` is exactly what was declared, or is refused with a sentence; nothing in it makes the check fall over."""

import io
import zipfile

import numpy as np
import pytest
from asi_evolve.sandbox.jobs import ArrayRule
from asi_evolve.sandbox.outputs import Refused, check_npz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RULES = {"centers": ArrayRule("float64", (26, 2)), "radii": ArrayRule("float64", (26,)), "n": ArrayRule("int64", ())}


def written(path, **arrays):
    given_ = {"centers": np.zeros((26, 2)), "radii": np.zeros(26), "n": np.array(26)} | arrays
    np.savez(path, **{name: array for name, array in given_.items() if array is not None})
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "packing.npz"


def test_the_declared_arrays_pass(path):
    check_npz(written(path), RULES)


def test_compressed_and_fortran_ordered_arrays_pass(path):
    np.savez_compressed(path, centers=np.asfortranarray(np.ones((26, 2))), radii=np.ones(26), n=np.array(1))
    check_npz(path, RULES)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"centers": np.zeros((27, 2))}, "Expected array centers of shape (26, 2), but got (27, 2)."),
        ({"radii": np.zeros((26, 1))}, "Expected array radii of shape (26,), but got (26, 1)."),
        ({"radii": np.zeros(26, "float32")}, "Expected array radii of type float64, but got <f4."),
        ({"radii": np.zeros(26, ">f8")}, "Expected array radii of type float64, but got >f8."),
        ({"radii": np.array([None] * 26)}, "Expected array radii of type float64, but got |O."),
        ({"radii": None}, "but it holds centers.npy, n.npy."),
        ({"more": np.zeros(1)}, "but it holds centers.npy, more.npy, n.npy, radii.npy."),
    ],
)
def test_what_is_not_declared_is_refused_in_words(path, arrays, sentence):
    with pytest.raises(Refused) as refused:
        check_npz(written(path, **arrays), RULES)
    assert sentence in str(refused.value)


def test_a_zip_bomb_costs_no_more_than_the_declared_bytes(path):
    header = io.BytesIO()
    np.save(header, np.zeros(26))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("centers.npy", "n.npy"):
            archive.writestr(name, b"")
        with archive.open("radii.npy", "w", force_zip64=True) as stream:
            stream.write(header.getvalue())
            for _ in range(200):
                stream.write(bytes(1 << 20))
    with pytest.raises(Refused):
        check_npz(path, RULES)


def test_the_same_name_twice_is_refused(path):
    written(path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("radii.npy", b"another")
    with pytest.raises(Refused, match="holds"):
        check_npz(path, RULES)


def test_what_is_no_archive_is_refused(path):
    path.write_bytes(b"not a zip")
    with pytest.raises(Refused, match="npz"):
        check_npz(path, RULES)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless_but_never_a_crash(path, place, value):
    data = bytearray(written(path).read_bytes())
    data[int(place * len(data))] = value
    path.write_bytes(bytes(data))
    try:
        check_npz(path, RULES)
    except Refused:
        return
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["centers"].shape == (26, 2)
        assert arrays["radii"].dtype == np.float64


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    dtype=st.sampled_from(["float64", "float32", "int64", "int32", "uint8", "bool"]),
    shape=st.lists(st.integers(0, 4), max_size=3).map(tuple),
)
def test_whatever_numpy_writes_in_the_declared_form_passes(path, dtype, shape):
    np.savez(path, a=np.zeros(shape, dtype))
    check_npz(path, {"a": ArrayRule(dtype, shape)})
