"""What the trainer takes of an answer, whatever arrays come, and what it makes of a gradient of any size."""

import numpy as np
import pytest
from asi_evolve.sandbox.channel import MAX_NAME_BYTES, TYPES
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from .boundary_lab import batch_of, imported

checking, metrics, algorithm = imported("boundary.checking", "boundary.metrics", "training.algorithm")

MASK = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
ANY_ARRAY = st.one_of(
    arrays_of.arrays(st.sampled_from(TYPES), arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    arrays_of.arrays(np.float32, (2, 3)),
    arrays_of.arrays(np.float32, (2,)),
    arrays_of.arrays(np.float64, ()),
)


def fits(array, shape):
    return array.dtype == np.float32 and array.shape in shape and np.isfinite(array).all()


@given(ANY_ARRAY)
def test_advantages_are_finite_float32_of_one_of_two_shapes_or_refused(array):
    wanted = fits(array, [(2, 3), (2,)])
    try:
        came = checking.checked_advantages({"advantages": array}, MASK)
    except algorithm.Refused as refused:
        assert not wanted
        assert str(refused).startswith("Expected")
    else:
        assert wanted
        assert np.array_equal(came, array * MASK if array.ndim == 2 else array)


@given(ANY_ARRAY, ANY_ARRAY, ANY_ARRAY, ANY_ARRAY)
def test_a_loss_and_its_gradient_are_finite_and_of_their_shapes_or_refused(loss, gradient, names, values):
    answer = {"loss": loss, "gradient": gradient, "metric_names": names, "metric_values": values}
    wanted = loss.dtype == np.float64 and loss.shape == () and np.isfinite(loss) and fits(gradient, [(2, 3)])
    try:
        came = checking.checked_loss(answer, MASK)
    except algorithm.Refused:
        assert not wanted
    else:
        assert wanted
        assert (type(came.loss), came.loss) == (float, float(loss))
        assert np.array_equal(came.gradient, gradient * MASK)


@given(st.dictionaries(st.sampled_from(["loss", "gradient", "metric_names", "metric_values", "more"]), ANY_ARRAY))
def test_an_answer_with_other_arrays_is_refused(answer):
    if set(answer) == {"loss", "gradient", "metric_names", "metric_values"}:
        return
    with pytest.raises(algorithm.Refused, match="answered with loss, gradient"):
        checking.checked_loss(answer, MASK)


NUMBERS = st.dictionaries(st.text(max_size=30), st.floats(), max_size=20)


@given(st.one_of(ANY_ARRAY, st.binary(max_size=400).map(lambda data: np.frombuffer(data, np.uint8))), ANY_ARRAY)
def test_metrics_out_of_any_two_arrays_are_few_finite_and_plainly_named(names, values):
    came = metrics.unpack(names, values)
    assert len(came) <= metrics.MAX_METRICS
    assert all(type(value) is float and np.isfinite(value) for value in came.values())
    assert all(name.isascii() and len(name) <= 24 and not set(name) & set(" \n\"'\\") for name in came)


@given(NUMBERS)
def test_metrics_that_will_do_come_out_as_they_went_in(told):
    good = {name: value for name, value in told.items() if metrics.NAME.fullmatch(name) and np.isfinite(value)}
    assert metrics.unpack(*metrics.pack(told)) == dict(list(good.items())[: metrics.MAX_METRICS])


def test_a_full_set_of_metrics_goes_over():
    told = {f"{letter}{'x' * 23}": float(number) for number, letter in enumerate("abcdef")}
    assert metrics.unpack(*metrics.pack(told)) == told


@given(
    arrays_of.arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    st.floats(1e-3, 1e3),
)
def test_no_finite_gradient_is_longer_than_its_bound_once_clipped_and_short_ones_are_as_they_were(gradient, bound):
    came = checking.clipped(gradient, bound)
    norm = np.linalg.norm(gradient.astype(np.float64))
    assert came.dtype == np.float32
    if norm <= bound:
        assert came is gradient
    else:
        assert np.linalg.norm(came.astype(np.float64)) == pytest.approx(bound, rel=1e-5)
        assert np.allclose(came, gradient.astype(np.float64) * (bound / norm), rtol=1e-5, atol=1e-30)


def test_only_the_direction_of_a_huge_gradient_counts():
    gradient = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    wanted = checking.clipped(gradient * np.float32(2.0**10), 1.0)
    for power in (60, 100, 120):  # squares of the last overflow in float32
        assert np.array_equal(checking.clipped(gradient * np.float32(2.0**power), 1.0), wanted)


def test_a_batch_goes_over_in_the_types_that_are_documented():
    batch = batch_of(np.random.default_rng(0))
    sent = checking.batch_arrays({**batch, "rewards": batch["rewards"].astype(int), "prompts": "the trainer's own"})
    assert {name: array.dtype.name for name, array in sent.items()} == {
        name: dtype for name, (dtype, _) in checking.BATCH_FORM.items()
    }
    assert tuple(checking.BATCH_FORM) == algorithm.BATCH_ARRAYS
    assert all(len(name) <= MAX_NAME_BYTES for name in sent)
