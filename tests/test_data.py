"""Data sets in memory: what they refuse, and cutting, shifting and resizing them against independent oracles."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from simulator import Dataset, RandomShift, ShapeError
from simulator.data import resized


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
    with pytest.raises(ShapeError, match="got 2 NaN or infinite ones, the first in sample 2; clean the data"):
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


@pytest.mark.parametrize(("share", "sizes"), [(0.1, "6 and 0"), (0.99, "0 and 6")])
def test_split_leaves_no_side_empty(share, sizes):
    with pytest.raises(ShapeError, match=f"data split: expected samples on both sides, got {sizes} of 6; use a share"):
        numbered(6).split(share)


@pytest.mark.parametrize("space", [(7,), (5, 4), (3, 4, 2)])
def test_random_shift_moves_all_channels_of_a_sample_alike(space):
    rng = np.random.default_rng(0)
    inputs = rng.random((600, 2, *space)).astype(np.float32)
    before = inputs.copy()
    shifted = RandomShift(1)(inputs, np.random.default_rng(1))
    assert shifted.dtype == inputs.dtype
    assert np.array_equal(inputs, before)
    ways = list(itertools.product((-1, 0, 1), repeat=len(space)))
    moved = np.stack([ndimage.shift(inputs, (0, 0, *way), order=0, mode="constant") for way in ways])
    agrees = (moved == shifted).all(axis=tuple(range(2, moved.ndim)))  # (ways, samples)
    assert (agrees.sum(axis=0) == 1).all()
    assert agrees.any(axis=1).all()  # every way is taken


def test_random_shift_is_repeatable_and_may_move_nothing():
    inputs = np.random.default_rng(0).random((9, 1, 6, 6))
    first, again, other = (RandomShift(2)(inputs, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(RandomShift(0)(inputs, np.random.default_rng(0)), inputs)


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
    with pytest.raises(ShapeError, match="random-shift sites: expected an integer of at least 0, got -1"):
        RandomShift(-1)(np.zeros((1, 1, 4)), np.random.default_rng(0))
