"""Data sets in memory: what they refuse, and splitting, normalising and resizing them against independent oracles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Catalog, Dataset, Normalise, ShapeError, one_hot
from simulator.data import fingerprints_of, fitted, held_out, resized, scaled_like
from simulator.preparation import Preparation
from simulator.splits import split_of_0_1


def numbered(n, classes=("a", "b")):
    """Samples that hold their own number."""
    inputs = np.arange(n, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)
    return Dataset(inputs, np.arange(n) % 2, classes)


def test_length_shape_and_labels():
    data = numbered(5)
    assert len(data) == 5
    assert data.shape == (2, 3)
    assert data.labels is data.targets


@pytest.mark.parametrize(
    "targets", [np.zeros(3), np.zeros((3, 1), int), {"a": np.zeros(3, int)}], ids=["real", "two axes", "named"]
)
def test_other_targets_are_no_labels(targets):
    assert Dataset(np.zeros((3, 1)), targets).labels is None


def test_named_inputs_and_targets():
    data = Dataset({"left": np.zeros((3, 1, 4)), "right": np.ones((3, 2))}, {"y": np.arange(3), "z": np.zeros((3, 5))})
    assert len(data) == 3
    assert data.shape == (1, 4)
    one = data.take([2])
    assert one.inputs["right"].shape == (1, 2)
    assert one.targets["y"].tolist() == [2]


@pytest.mark.parametrize(
    ("inputs", "targets", "lengths"),
    [
        (np.zeros((3, 1)), np.zeros(2, int), "3 and 2"),
        (np.zeros((0, 1)), np.zeros(0, int), "0 and 0"),
        ({"a": np.zeros((2, 1)), "b": np.zeros((3, 1))}, np.zeros(2, int), "2 and 3 and 2"),
    ],
    ids=["different", "none", "named"],
)
def test_lengths_must_agree(inputs, targets, lengths):
    with pytest.raises(
        ShapeError, match=f"data: expected as many targets as samples, and at least one, got {lengths};"
    ):
        Dataset(inputs, targets)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_must_be_finite(bad):
    inputs = np.zeros((4, 1, 2))
    inputs[2:, 0, 1] = bad
    with pytest.raises(ShapeError, match="got 2 NaN or infinite ones, the first in sample 2; leave such samples out"):
        Dataset(inputs, np.zeros(4, int))
    with pytest.raises(ShapeError, match="got 1 NaN or infinite ones, the first in sample 0"):
        Dataset(np.zeros((2, 1)), np.array([bad, 0]))


@pytest.mark.parametrize(("labels", "got"), [([0, 2], "0 to 2"), ([-1, 1], "-1 to 1")])
def test_every_label_has_a_class(labels, got):
    with pytest.raises(
        ShapeError, match=f"data: expected labels from 0 to 1, got {got}; correct the labels or name more"
    ):
        Dataset(np.zeros((2, 1)), np.array(labels), classes=("a", "b"))


def test_take_keeps_the_classes_and_leaves_the_test_data():
    part = replace(numbered(4), test=numbered(2)).take([3, 1])
    assert part.inputs[:, 0, 0].tolist() == [3, 1]
    assert part.targets.tolist() == [1, 1]
    assert part.classes == ("a", "b")
    assert part.test is None


def test_split_gives_every_sample_to_one_side_and_every_label_its_share():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    data = Dataset(np.arange(100.0)[:, None], labels, classes="abc")
    rest, apart = data.split(0.1, rng=1)
    assert np.bincount(apart.labels).tolist() == [5, 3, 2]
    assert np.bincount(rest.labels).tolist() == [45, 27, 18]
    assert sorted([*rest.inputs[:, 0], *apart.inputs[:, 0]]) == list(range(100))
    for part in (rest, apart):
        assert np.array_equal(labels[part.inputs[:, 0].astype(int)], part.labels)


def test_split_is_random_and_repeatable():
    data = numbered(40)
    first, again, other = (data.split(0.25, rng=rng)[1].inputs[:, 0, 0].tolist() for rng in (0, 0, 1))
    assert first == again != other


def test_split_without_labels():
    rest, apart = Dataset(np.arange(10.0)[:, None], np.arange(10.0)).split(0.3)
    assert (len(rest), len(apart)) == (7, 3)
    assert np.array_equal(apart.inputs[:, 0], apart.targets)


@pytest.mark.parametrize(("n", "share", "sizes"), [(4, 0.1, "4 and 0"), (1, 0.9, "1 and 0")])
def test_split_leaves_no_side_empty(n, share, sizes):
    with pytest.raises(
        ShapeError, match=f"data split: expected samples on both sides, got {sizes} of {n}; use another share"
    ):
        numbered(n).split(share)


def test_few_samples_of_a_label_are_held_out_by_largest_remainders():
    """A fifth of all is held out, and of every label as nearly a fifth as can be."""
    threes = np.repeat(np.arange(100), 3)
    counts = np.bincount(threes[held_out(threes, 0.2)], minlength=100)
    assert (counts.sum(), counts.max()) == (60, 1)  # rounded by label it would be 100 of 300
    uneven = np.repeat(np.arange(10), [2] * 9 + [50])
    counts = np.bincount(uneven[held_out(uneven, 0.2)], minlength=10)
    assert (counts.sum(), counts[9], counts[:9].max()) == (14, 10, 1)  # rounded by label it would be the 50 alone


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_share_of_all_and_of_every_label(sizes, share, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    counts = np.bincount(labels[held_out(labels, share, seed)], minlength=len(sizes))
    sizes = np.array(sizes)
    most = sizes - 1  # one of each label is left to train on
    exact = np.round(share * sizes, 9)
    assert (counts <= most).all()
    assert (counts >= np.minimum(np.floor(exact), most)).all()
    assert counts.sum() == min(round(share * sizes.sum()), most.sum())
    if np.minimum(np.ceil(exact), most).sum() >= counts.sum():
        assert (counts <= np.ceil(exact)).all()


def test_the_digits_are_held_out_as_in_version_0_1_0():
    data = Catalog().load_data("digits")
    now = held_out(data.labels, 0.2, 0)
    assert now.sum() == 359
    assert np.array_equal(now, split_of_0_1(data, "digits", 0.2, 0).held_out)


def test_which_labels_of_equal_size_are_held_out_is_random():
    labels = np.arange(40) % 20
    chosen = {tuple(np.unique(labels[held_out(labels, 0.1, seed)])) for seed in range(5)}
    assert len(chosen) == 5
    assert all(len(names) == 4 for names in chosen)


@pytest.mark.parametrize(("old", "new"), [(8, 28), (8, 7), (5, 3), (1, 9), (13, 1), (3, 50)])
def test_resized_interpolates_between_the_middles_of_sites(old, new, agree):
    inputs = np.random.default_rng(0).random((2, 3, old))
    middles = (np.arange(new) + 0.5) * old / new - 0.5
    expected = [[np.interp(middles, np.arange(old), signal) for signal in sample] for sample in inputs]
    agree(resized(inputs, (new,)), expected)


@pytest.mark.parametrize("space", [(7, 9), (10, 3), (1, 1), (11, 20)])
def test_resized_is_bilinear_interpolation_in_pytorch(torch, agree, space):
    inputs = np.random.default_rng(0).random((2, 3, 5, 9))
    theirs = torch.nn.functional.interpolate(torch.from_numpy(inputs), space, mode="bilinear", align_corners=False)
    agree(resized(inputs, space), theirs.numpy())


def test_resized_keeps_the_type_and_what_fits_already():
    inputs = np.zeros((2, 1, 8, 8), np.float32)
    assert resized(inputs, (9, 5)).dtype == np.float32
    assert resized(inputs, [8, 8]) is inputs


def test_resized_wants_a_size_for_each_axis():
    with pytest.raises(
        ShapeError, match=r"resized: expected 2 sizes for samples of shape \(1, 8, 8\), got \(28,\); give"
    ):
        resized(np.zeros((2, 1, 8, 8)), (28,))


@pytest.mark.parametrize("inputs", [[[1.0], [2.0]], np.array(["a", "b"]), np.float64(3)])
def test_what_is_no_array_of_numbers_is_refused(inputs):
    with pytest.raises(ShapeError, match="data: expected arrays of real numbers, one row per sample, got"):
        Dataset(inputs, np.array([0, 1]))


def test_no_inputs_and_negative_labels_are_refused():
    with pytest.raises(ShapeError, match="and at least one, got none; check the file"):
        Dataset({}, {})
    with pytest.raises(ShapeError, match="expected labels from 0 to 1, got -1 to 1"):
        Dataset(np.zeros((2, 1)), np.array([-1, 1]))


@pytest.mark.parametrize("share", [-0.5, 0, 1, 2, float("nan")])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(ShapeError, match="data split: expected a share between 0 and 1, got"):
        Dataset(np.zeros((10, 1)), np.arange(10)).split(share)


def test_sizes_below_one_are_refused():
    with pytest.raises(ShapeError, match="resized space: expected an integer of at least 1, got 0"):
        resized(np.zeros((1, 1, 4, 4)), (0, 4))


def test_splits_give_every_sample_to_one_part_and_every_label_its_share():
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    parts = Dataset(np.arange(200.0)[:, None], labels, classes="abc").splits((0.7, 0.2, 0.1), rng=1)
    assert [np.bincount(part.labels).tolist() for part in parts] == [[70, 42, 28], [20, 12, 8], [10, 6, 4]]
    assert sorted(number for part in parts for number in part.inputs[:, 0]) == list(range(200))
    for part in parts:
        assert np.array_equal(labels[part.inputs[:, 0].astype(int)], part.labels)
        assert part.classes == "abc"
        assert (np.diff(part.inputs[:, 0]) > 0).all()  # in their old order


def test_splits_in_two_are_those_of_split():
    data = numbered(41)
    for share, seed in ((0.2, 0), (0.35, 3), (0.5, 1)):
        rest, apart = data.split(share, rng=seed)
        first, second = data.splits((share, 1 - share), rng=seed)
        assert np.array_equal(first.inputs, apart.inputs)
        assert np.array_equal(second.inputs, rest.inputs)


def test_splits_are_random_and_repeatable_and_take_any_number_of_parts():
    data = Dataset(np.arange(30.0)[:, None], np.arange(30.0))  # no labels
    first, again, other = ([part.targets.tolist() for part in data.splits((0.1,) * 10, rng=rng)] for rng in (0, 0, 1))
    assert first == again != other
    assert [len(part) for part in first] == [3] * 10


def test_a_split_never_changes_which_samples_are_held_out():
    """Two in every label by the whole part of 2.5, one more of the label that comes first in the random order."""
    apart = numbered(20).split(0.25, rng=7)[1]
    order = np.random.default_rng(7).permutation(20)
    count = {order[0] % 2: 3, 1 - order[0] % 2: 2}
    expected = [order[order % 2 == label][: count[label]] for label in (0, 1)]
    assert apart.inputs[:, 0, 0].tolist() == sorted(np.concatenate(expected).tolist())


@pytest.mark.parametrize(
    "shares", [(0.7, 0.2), (0.7, 0.2, 0.2), (1.0,), (), (1.5, -0.5), (0.5, 0.5, 0.0), (float("nan"), 0.5)]
)
def test_shares_lie_between_0_and_1_and_add_up(shares):
    with pytest.raises(ShapeError, match="data splits: expected shares between 0 and 1 with the sum 1, got .*; write"):
        numbered(10).splits(shares)


def test_splits_leave_no_part_empty():
    with pytest.raises(ShapeError, match="data splits: expected samples in every part, got 1, 0, 1 of 2; use larger"):
        numbered(2).splits()


def test_fingerprints_know_a_sample_by_its_numbers():
    data = np.random.default_rng(0).random((50, 2, 3))
    prints = fingerprints_of(data)
    assert prints.dtype == np.uint64
    assert len(set(prints.tolist())) == 50
    assert np.array_equal(fingerprints_of(data.astype(np.float32).reshape(50, 6)), prints)
    order = np.random.default_rng(1).permutation(50)
    assert np.array_equal(fingerprints_of(data[order]), prints[order])
    assert fingerprints_of(np.array([[0.0]])) == fingerprints_of(np.array([[-0.0]]))
    both = {"b": data, "a": data[:, :1]}
    assert np.array_equal(fingerprints_of(both), fingerprints_of(dict(reversed(both.items()))))
    assert not np.array_equal(fingerprints_of(both), prints)


def test_fingerprints_go_with_their_samples():
    data = replace(numbered(4), fingerprints=np.arange(4, dtype=np.uint64), test=numbered(2))
    assert data.take([2, 0]).fingerprints.tolist() == [2, 0]
    assert data.mapped(lambda inputs: inputs + 1).fingerprints is data.fingerprints
    assert data.joined().fingerprints is None  # those of the test samples are not there
    test = replace(numbered(2), fingerprints=np.array([8, 9], np.uint64))
    assert replace(data, test=test).joined().fingerprints.tolist() == [0, 1, 2, 3, 8, 9]


@pytest.mark.parametrize("prints", [np.arange(4), np.zeros(3, np.uint64), np.zeros((4, 1), np.uint64)])
def test_fingerprints_of_another_kind_are_refused(prints):
    with pytest.raises(ShapeError, match=r"data: expected fingerprints uint64 \(4,\), got .*; make them with"):
        replace(numbered(4), fingerprints=prints)
    assert len(replace(numbered(4), fingerprints=fingerprints_of(numbered(4).inputs))) == 4


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(ShapeError, match="data: expected another name for each class, got 'a' twice; rename one"):
        numbered(4, classes=("a", "b", "a"))


def test_joined_numbers_the_test_samples_last():
    data = replace(numbered(4), test=numbered(3).take([2, 1]))
    whole = data.joined()
    assert whole.inputs[:, 0, 0].tolist() == [0, 1, 2, 3, 2, 1]
    assert whole.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert whole.test is None
    assert numbered(4).joined().test is None
    named = Dataset(
        {"x": np.zeros((2, 1))}, {"y": np.zeros(2)}, test=Dataset({"x": np.ones((1, 1))}, {"y": np.ones(1)})
    )
    assert named.joined().inputs["x"].ravel().tolist() == named.joined().targets["y"].tolist() == [0, 0, 1]


def test_mapped_changes_the_inputs_of_the_test_data_as_well():
    data = replace(numbered(4), test=numbered(2))
    doubled = data.mapped(lambda inputs: inputs * 2)
    assert np.array_equal(doubled.inputs, data.inputs * 2)
    assert np.array_equal(doubled.test.inputs, data.test.inputs * 2)
    assert doubled.targets is data.targets
    assert doubled.classes == data.classes
    named = Dataset({"left": np.ones((3, 1)), "right": np.ones((3, 2))}, np.arange(3)).mapped(np.negative)
    assert {name: array.tolist() for name, array in named.inputs.items()} == {
        "left": [[-1]] * 3,
        "right": [[-1, -1]] * 3,
    }


def test_what_mapped_gets_is_checked():
    with pytest.raises(ShapeError, match="expected as many targets as samples, and at least one, got 1 and 4"):
        numbered(4).mapped(lambda inputs: inputs[:1])
    with np.errstate(divide="ignore"), pytest.raises(ShapeError, match="got 6 NaN or infinite ones, the first in"):
        numbered(4).mapped(lambda inputs: 1 / inputs)


@pytest.mark.parametrize("space", [(), (9,), (4, 5), (2, 3, 4)])
def test_normalised_channels_have_mean_0_and_deviation_1(space):
    inputs = np.random.default_rng(0).normal(3, [[0.1], [5]], (400, 2, int(np.prod(space)))).reshape(400, 2, *space)
    normalised = Normalise.of(inputs)(inputs)
    by_channel = np.moveaxis(normalised, 1, 0).reshape(2, -1)
    np.testing.assert_allclose(by_channel.mean(axis=1), 0, atol=1e-13)
    np.testing.assert_allclose(by_channel.std(axis=1), 1, rtol=1e-13)


def test_normalise_is_scikit_learns_scaler_on_features():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    rng = np.random.default_rng(0)
    train, test = rng.normal(2, 3, (50, 6)), rng.normal(0, 1, (20, 6))
    train[:, 4] = 0.1  # a feature without variance: they, too, only subtract its mean
    scaler, normalise = preprocessing.StandardScaler().fit(train), Normalise.of(train)
    np.testing.assert_allclose(normalise(test), scaler.transform(test), rtol=1e-12, atol=1e-12)
    assert normalise.scale[4] == 1


def test_normalise_is_measured_on_the_training_samples_only():
    rng = np.random.default_rng(0)
    data = Dataset(rng.random((8, 2, 3)), np.arange(8))
    far = replace(data, test=Dataset(rng.random((4, 2, 3)) + 100, np.arange(4)))
    normalise = Normalise.of(far)
    assert normalise == Normalise.of(data)
    mapped = far.mapped(normalise)
    assert abs(mapped.inputs.mean()) < 1e-12
    assert mapped.test.inputs.min() > 100
    assert eval(repr(normalise)) == normalise  # plain numbers, to the last bit


@pytest.mark.parametrize(
    ("given", "got"), [("float32", "float32"), ("float64", "float64"), ("uint8", "float32"), ("int64", "float32")]
)
def test_normalise_keeps_the_precision_and_the_inputs(given, got):
    inputs = np.random.default_rng(0).integers(0, 255, (6, 3, 4)).astype(given)
    before = inputs.copy()
    assert Normalise.of(inputs)(inputs).dtype == got
    assert np.array_equal(inputs, before)
    assert Normalise.of(inputs)(inputs[:0]).shape == (0, 3, 4)


def test_a_channel_without_variance_becomes_zero():
    inputs = np.full((1000, 1, 5), 0.1, np.float32)
    normalise = Normalise.of(inputs)
    assert normalise.scale == (1.0,)
    assert not normalise(inputs).any()


@pytest.mark.parametrize(
    ("mean", "scale"),
    [((0.0,), (1.0, 1.0)), ((0.0,), (0.0,)), ((0.0,), (-1.0,)), ((float("nan"),), (1.0,)), (0.0, 1.0)],
)
def test_normalise_wants_a_mean_and_a_positive_scale_per_channel(mean, scale):
    with pytest.raises(
        ShapeError, match="normalise: expected one mean and one positive scale per channel, got .*; mea"
    ):
        Normalise(mean, scale)


def test_normalise_wants_samples_with_its_channels():
    with pytest.raises(ShapeError, match=r"normalise: expected samples \(n, 1, \*space\), got \(5, 2, 3\); measure"):
        Normalise((0.0,), (1.0,))(np.zeros((5, 2, 3)))
    for inputs, got in (
        (np.zeros(4), r"\(4,\)"),
        (np.zeros((0, 2)), r"\(0, 2\)"),
        ([[1.0]], "list"),
        (Dataset({"a": np.zeros((2, 1))}, np.arange(2)), "several inputs"),
    ):
        with pytest.raises(ShapeError, match=rf"normalise: expected samples .* of one input, got {got}; give an array"):
            Normalise.of(inputs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_one_hot_rows_are_those_of_the_identity(dtype):
    labels = np.array([3, 0, 0, 2, 1], np.uint8)
    rows = one_hot(labels, 4, dtype)
    assert rows.dtype == dtype
    assert np.array_equal(rows, np.eye(4)[labels])
    assert one_hot(labels[:0], 4).shape == (0, 4)
    assert one_hot(labels, 4).dtype == np.float32


def test_one_hot_wants_labels_in_range():
    with pytest.raises(ShapeError, match="one-hot: expected labels from 0 to 1, got 0 to 2; correct them or ask for"):
        one_hot(np.array([0, 2]), 2)
    with pytest.raises(ShapeError, match="one-hot: expected labels from 0 to 1, got -1 to 0"):
        one_hot(np.array([0, -1]), 2)
    with pytest.raises(
        ShapeError, match=r"one-hot: expected integer labels \(n,\), got float64 \(2,\); give one integer per sample"
    ):
        one_hot(np.array([0.0, 1.0]), 2)
    with pytest.raises(ShapeError, match=r"one-hot: expected integer labels \(n,\), got int64 \(1, 1\)"):
        one_hot(np.array([[0]]), 2)
    with pytest.raises(ShapeError, match="one-hot classes: expected an integer of at least 1, got 0"):
        one_hot(np.array([0]), 0)


# ---------------------------------------------------------------------- brought to a shape and a scale


@pytest.mark.parametrize("space", [(7, 9), (10, 3), (1, 1), (11, 20), (4, 30)])
def test_resized_with_antialias_is_that_of_pytorch_where_it_shrinks(torch, agree, space):
    inputs = np.random.default_rng(0).random((2, 3, 13, 15))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(inputs), space, mode="bilinear", align_corners=False, antialias=True
    )
    agree(resized(inputs, space, antialias=True), theirs.numpy())


def pictures(shape, divisor=None):
    rng, done = np.random.default_rng(0), Preparation(("read",), divisor)
    test = Dataset(rng.random((2, *shape), np.float32), np.array([1, 0]), preparation=done)
    return Dataset(rng.random((4, *shape), np.float32), np.arange(4) % 2, test=test, preparation=done)


@pytest.mark.parametrize(
    ("own", "shape", "told"),
    [
        ((3, 32, 32), (1, 28, 28), "colours to grey; resized from 32x32 to 28x28"),
        ((1, 8, 8), (3, 8, 8), "grey in all of 3 channels"),
        ((1, 8, 6), (1, 12, 12), "resized from 8x6 to 12x12"),
        ((784,), (1, 28, 28), "784 numbers taken as 1x28x28"),
        ((192,), (3, 16, 8), "192 numbers taken as 3x8x8; resized from 8x8 to 16x8"),
        ((1, 8, 8), (64,), "64 numbers taken as 64"),
        ((2, 8, 9), (2, 9, 9), "resized from 8x9 to 9x9"),
    ],
)
def test_fitted_says_what_it_does_and_keeps_the_fingerprints(own, shape, told):
    data = pictures(own)
    made = fitted(data, shape)
    assert made.shape == made.test.shape == shape
    assert made.preparation.told == made.test.preparation.told == f"read; {told}"
    assert made.inputs.dtype == np.float32
    assert np.array_equal(made.fingerprints, fingerprints_of(data.inputs))
    assert np.array_equal(made.test.fingerprints, fingerprints_of(data.test.inputs))
    assert made.targets is data.targets


def test_fitted_is_what_resized_is(agree):
    data = pictures((3, 9, 12))
    agree(fitted(data, (3, 5, 30)).inputs, resized(data.inputs, (5, 30), antialias=True))
    grey = data.inputs[:, 0] * 0.299 + data.inputs[:, 1] * 0.587 + data.inputs[:, 2] * 0.114
    np.testing.assert_allclose(fitted(data, (1, 9, 12)).inputs[:, 0], grey, rtol=1e-5)
    assert fitted(data, [3, 9, 12]) is data


@pytest.mark.parametrize(
    ("own", "shape"),
    [((4,), (1, 28, 28)), ((2, 8, 8), (1, 8, 8)), ((63,), (64,)), ((1, 1, 9), (1, 9)), ((1, 4, 4, 4), (1, 8, 8))],
)
def test_other_shapes_do_not_fit(own, shape):
    with pytest.raises(ShapeError, match=r"mine: expected samples of shape \(.*, got \(.*; use data of that shape"):
        fitted(pictures(own), shape, "mine")


@pytest.mark.parametrize(
    ("own", "high", "like", "factor", "told"),
    [
        (1.0, 100, Preparation(divisor=255.0, high=1.0), 1 / 255, "read; divided by 255"),
        (1.0, 1, Preparation(divisor=255.0, high=1.0), 1, "read"),
        (255.0, 1, Preparation(divisor=1.0, high=1.0), 1, "read"),
        (255.0, 1, Preparation(divisor=1.0, high=300.0), 255, "read"),
        (255.0, 1, Preparation(divisor=65535.0, high=1.0), 1, "read"),
        (255.0, 1, Preparation(divisor=None, low=0.0, high=1.0), 1, "read"),
        (None, 1, Preparation(divisor=1.0, low=0.0, high=16.0), 16, "read; scaled from 0 to 1 to 0 to 16"),
        (None, 1, Preparation(divisor=1.0, low=0.0, high=0.9), 1, "read"),
    ],
)
def test_new_data_have_the_scale_of_the_old_ones(own, high, like, factor, told):
    data = pictures((1, 8, 8), own)
    data = data.mapped(lambda inputs: inputs * np.float32(high))
    made = scaled_like(data, like)
    np.testing.assert_allclose(made.inputs, data.inputs * factor, rtol=1e-5)
    np.testing.assert_allclose(made.test.inputs, data.test.inputs * factor, rtol=1e-5)
    assert made.preparation.told == told


def test_pictures_come_in_the_range_of_normalised_ones():
    data = pictures((1, 8, 8))
    made = scaled_like(data, Preparation(divisor=1.0, low=-0.5, high=2.5))
    np.testing.assert_allclose(made.inputs, data.inputs * 3 - 0.5, rtol=1e-5, atol=1e-6)
    features = pictures((64,))
    assert scaled_like(features, Preparation(divisor=1.0, low=-0.5, high=2.5)) is features


def test_what_was_done_goes_with_the_samples():
    data = pictures((1, 8, 8))
    done = data.preparation
    assert all(
        part.preparation == done for part in (data.take([0]), data.joined(), *data.split(), data.mapped(np.negative))
    )
