"""Augmentation: what is cut, moved and mirrored, and how often, against slices, SciPy and counting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage, stats

from simulator import (
    Chain,
    Dataset,
    Dense,
    Network,
    RandomCrop,
    RandomMirror,
    RandomShift,
    ShapeError,
    centre_crop,
    ten_crops,
    train,
)

STEPS = [
    RandomCrop(3),
    RandomCrop(4, padding=2),
    RandomShift(1),
    RandomMirror(),
    Chain([RandomMirror(), RandomCrop(2)]),
]


def numbered(n, space, channels=2):
    """Samples in which every site holds its own number, another one in each channel."""
    sites = np.arange(channels * np.prod(space), dtype=np.float32).reshape(1, channels, *space)
    return np.repeat(sites, n, axis=0)


def places(space, window):
    return list(itertools.product(*(range(n - size + 1) for n, size in zip(space, window, strict=True))))


@pytest.mark.parametrize(
    ("space", "window"), [((7,), (4,)), ((5, 4), (3, 3)), ((5, 4), (2, 4)), ((3, 4, 2), (2, 2, 2)), ((4, 4), (1, 1))]
)
def test_random_crop_takes_every_window_equally_often(space, window):
    n = 200 * len(places(space, window))
    cut = RandomCrop(window)(numbered(n, space), np.random.default_rng(0))
    assert cut.shape == (n, 2, *window)
    slices = [
        tuple(slice(i, i + size) for i, size in zip(place, window, strict=True)) for place in places(space, window)
    ]
    windows = np.stack([numbered(1, space)[0][:, *cells] for cells in slices])  # (places, channels, *window)
    agrees = (cut[:, None] == windows).all(axis=tuple(range(2, windows.ndim + 1)))  # (n, places)
    assert (agrees.sum(axis=1) == 1).all()
    assert stats.chisquare(agrees.sum(axis=0)).pvalue > 1e-3


def test_alexnet_sees_2048_pictures_of_each_one():
    """The paper counts 256 - 224 = 32 places along each axis, all but the last one of 33, and two sides."""
    line = np.tile(np.arange(256), (2000, 1, 1))
    cut = Chain([RandomCrop(224), RandomMirror()])(line, np.random.default_rng(0))
    ways = {(int(first), int(last)) for first, last in cut[:, 0, [0, -1]]}
    assert ways == {(i, i + 223) for i in range(33)} | {(i + 223, i) for i in range(33)}
    starts = {min(way) for way in ways}
    sides = len(ways) // len(starts)
    assert (len(starts) - 1) ** 2 * sides == 2048
    assert len(starts) ** 2 * sides == 2178


@pytest.mark.parametrize("space", [(7,), (5, 4), (3, 4, 2)])
def test_random_shift_moves_all_channels_of_a_sample_alike(space):
    rng = np.random.default_rng(0)
    inputs = rng.random((600, 2, *space)).astype(np.float32)
    shifted = RandomShift(1)(inputs, np.random.default_rng(1))
    ways = list(itertools.product((-1, 0, 1), repeat=len(space)))
    moved = np.stack([ndimage.shift(inputs, (0, 0, *way), order=0, mode="constant") for way in ways])
    agrees = (moved == shifted).all(axis=tuple(range(2, moved.ndim)))  # (ways, samples)
    assert (agrees.sum(axis=0) == 1).all()
    assert agrees.any(axis=1).all()  # every way is taken


def test_a_shift_is_a_padded_crop_of_the_same_size():
    inputs = np.random.default_rng(0).random((20, 3, 6, 5))
    for sites in (0, 1, 4):
        shifted = RandomShift(sites)(inputs, np.random.default_rng(3))
        assert np.array_equal(shifted, RandomCrop((6, 5), padding=sites)(inputs, np.random.default_rng(3)))
    assert np.array_equal(RandomShift(0)(inputs, np.random.default_rng(0)), inputs)


def test_padding_and_window_are_given_per_axis():
    inputs = np.ones((300, 1, 3, 4))
    cut = RandomCrop((3, 6), padding=(0, 1))(inputs, np.random.default_rng(0))  # only one place is left
    assert np.array_equal(cut, np.pad(inputs, ((0, 0), (0, 0), (0, 0), (1, 1))))
    cut = RandomCrop((5, 4), padding=(1, 0))(inputs, np.random.default_rng(0))
    assert np.array_equal(cut, np.pad(inputs, ((0, 0), (0, 0), (1, 1), (0, 0))))


@pytest.mark.parametrize(("space", "axis"), [((5,), -1), ((5,), 2), ((3, 4), -1), ((3, 4), -2), ((2, 3, 4), 3)])
def test_random_mirror_flips_its_share_of_samples(space, axis):
    inputs = np.random.default_rng(0).random((1000, 2, *space))
    mirrored = RandomMirror(axis, share=0.3)(inputs, np.random.default_rng(1))
    rest = tuple(range(1, inputs.ndim))
    same, flipped = ((mirrored == other).all(axis=rest) for other in (inputs, np.flip(inputs, axis)))
    assert (same != flipped).all()
    assert stats.binomtest(int(flipped.sum()), 1000, 0.3).pvalue > 1e-3


def test_random_mirror_of_none_and_of_all():
    inputs = np.random.default_rng(0).random((50, 1, 2, 3))
    assert np.array_equal(RandomMirror(share=0)(inputs, np.random.default_rng(0)), inputs)
    assert np.array_equal(RandomMirror(share=1)(inputs, np.random.default_rng(0)), inputs[..., ::-1])
    assert (
        stats.binomtest(
            int((RandomMirror()(numbered(1000, (4,)), np.random.default_rng(0))[:, 0, 0] == 0).sum()), 1000, 0.5
        ).pvalue
        > 1e-3
    )


def test_a_chain_is_its_steps_one_after_the_other():
    inputs = np.random.default_rng(0).random((30, 3, 8, 8))
    crop, mirror = RandomCrop(5), RandomMirror(-2)
    rng = np.random.default_rng(4)
    expected = mirror(crop(inputs, rng), rng)
    assert np.array_equal(Chain([crop, mirror])(inputs, np.random.default_rng(4)), expected)
    nested = Chain([Chain([crop]), lambda inputs, rng: mirror(inputs, rng)])
    assert np.array_equal(nested(inputs, np.random.default_rng(4)), expected)
    assert Chain([])(inputs, rng) is inputs


@pytest.mark.parametrize("step", STEPS, ids=repr)
@pytest.mark.parametrize("space", [(5,), (6, 5), (3, 5, 4)])
def test_steps_are_repeatable_and_leave_their_inputs(step, space):
    inputs = np.random.default_rng(0).random((9, 2, *space)).astype(np.float32)
    inputs.flags.writeable = False
    first, again, other = (step(inputs, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert step(inputs[:0], np.random.default_rng(0)).shape == (0, *first.shape[1:])
    strided = np.asfortranarray(np.repeat(inputs, 2, axis=0))[::2]
    assert np.array_equal(step(strided, np.random.default_rng(0)), first)
    assert eval(repr(step)) == step


def test_a_network_trains_on_crops_of_larger_samples():
    data = Dataset(np.random.default_rng(0).random((32, 1, 8, 8)), np.arange(32) % 2)
    network = Network.sequential((1, 6, 6), [Dense(2)], rng=0)
    augment = Chain([RandomCrop(6), RandomMirror()])
    small = Dataset(centre_crop(data.inputs, 6), data.targets)
    first, again = (
        [epoch.loss for epoch in train(network, data, epochs=2, augment=augment, validation=small)] for _ in range(2)
    )
    assert first == again
    with pytest.raises(ShapeError, match=r"input: expected \(batch, 1, 6, 6\), got \(32, 1, 8, 8\)"):
        next(train(network, data))


@pytest.mark.parametrize(("n", "size", "start"), [(5, 3, 1), (6, 3, 1), (7, 4, 1), (8, 4, 2), (4, 4, 0), (9, 1, 4)])
def test_the_centre_has_equal_margins(n, size, start):
    for ndim in (1, 2, 3):
        inputs = numbered(2, (n,) * ndim)
        expected = inputs[:, :, *(slice(start, start + size),) * ndim]
        assert np.array_equal(centre_crop(inputs, size), expected)
    assert np.array_equal(centre_crop(numbered(1, (n, n)), (n, size)), numbered(1, (n, n))[..., start : start + size])


def test_ten_crops_are_corners_and_centre_and_their_mirror_images():
    pictures = np.random.default_rng(0).random((3, 2, 9, 7))
    crops = ten_crops(pictures, (5, 3))
    assert crops.shape == (10, 3, 2, 5, 3)
    corners = [pictures[..., :5, :3], pictures[..., :5, 4:], pictures[..., 4:, :3], pictures[..., 4:, 4:]]
    for crop, expected in zip(crops, [*corners, pictures[..., 2:7, 2:5]], strict=False):
        assert np.array_equal(crop, expected)
    assert np.array_equal(crops[5:], crops[:5, ..., ::-1])
    # The mirrored picture has the same ten: left and right corners change places.
    again = ten_crops(pictures[..., ::-1], (5, 3))
    assert np.array_equal(again[[6, 5, 8, 7, 9, 1, 0, 3, 2, 4]], crops)
    assert ten_crops(pictures.astype(np.float32), 4).dtype == np.float32
    assert ten_crops(pictures[:0], 4).shape == (10, 0, 2, 4, 4)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("cut", "who"),
    [(lambda x, n: RandomCrop(n)(x, RNG), "random-crop"), (centre_crop, "centre-crop"), (ten_crops, "ten-crops")],
    ids=["random", "centre", "ten"],
)
def test_windows_fit_into_the_samples(cut, who):
    pictures = np.zeros((2, 1, 4, 5))
    with pytest.raises(ShapeError, match=rf"{who}: expected a window of at most \(4, 5\), got \(5, 5\); cut a smaller"):
        cut(pictures, 5)
    with pytest.raises(ShapeError, match=rf"{who} space: expected one integer or 2 of them .*, got \(2, 2, 2\)"):
        cut(pictures, (2, 2, 2))
    with pytest.raises(ShapeError, match=f"{who} space: expected an integer of at least 1, got 0"):
        cut(pictures, (0, 3))


@pytest.mark.parametrize(
    ("call", "who"),
    [
        (lambda x: RandomCrop(1)(x, RNG), "random-crop"),
        (lambda x: RandomShift(1)(x, RNG), "random-shift"),
        (lambda x: RandomMirror()(x, RNG), "random-mirror"),
        (lambda x: centre_crop(x, 1), "centre-crop"),
    ],
    ids=["crop", "shift", "mirror", "centre"],
)
@pytest.mark.parametrize("shape", [(3, 4), (2,) * 6])
def test_samples_have_1_to_3_axes_of_space(call, who, shape):
    with pytest.raises(
        ShapeError, match=rf"{who}: expected a batch \(batch, channels, \*space\) with 1 to 3 axes of space, got"
    ):
        call(np.zeros(shape))


def test_ten_crops_are_of_pictures():
    with pytest.raises(
        ShapeError, match=r"ten-crops: expected pictures \(batch, channels, height, width\), got \(2, 1, 9"
    ):
        ten_crops(np.zeros((2, 1, 9)), 3)


def test_numbers_that_do_not_fit_are_refused():
    pictures = np.zeros((1, 1, 4, 4))
    with pytest.raises(ShapeError, match="random-crop padding: expected an integer of at least 0, got -1"):
        RandomCrop(2, padding=-1)(pictures, RNG)
    with pytest.raises(ShapeError, match="random-shift sites: expected an integer of at least 0, got -1"):
        RandomShift(-1)(pictures, RNG)
    for axis in (0, 1, 4, -3):
        with pytest.raises(
            ShapeError, match=f"random-mirror axis: expected an axis of space from -2 to -1, got {axis};"
        ):
            RandomMirror(axis)(pictures, RNG)
    for share in (-0.1, 1.1):
        with pytest.raises(ShapeError, match="random-mirror share: expected a share from 0 to 1, got"):
            RandomMirror(share=share)(pictures, RNG)


@pytest.mark.parametrize("steps", [RandomMirror(), [RandomMirror(), 3], "mirror"])
def test_a_chain_wants_a_list_of_steps(steps):
    with pytest.raises(ShapeError, match="Chain steps: expected a sequence of functions, got .*; write Chain"):
        Chain(steps)
