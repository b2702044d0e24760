"""Pooling against numpy windows and PyTorch on random geometries, and the facts that courses teach about it."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator import AveragePool, Counts, MaxPool, Network, ShapeError, Subsample
from simulator.equivalence import equivalence

POOLS = {AveragePool: "average-pool", Subsample: "subsample", MaxPool: "max-pool"}


def axis_windows(n, k, s, d, begin, end, ceil):
    """For each window of one axis the coordinates that its taps read, by definition: (windows, taps)."""
    room = n + begin + end - (k - 1) * d - 1
    count = (-(-room // s) if ceil else room // s) + 1
    if ceil and (count - 1) * s >= n + begin:  # the last one would start on the padding at the end
        count -= 1
    return np.arange(count)[:, None] * s + np.arange(k) * d - begin


@st.composite
def axes(draw, like_torch, dilated):
    """(n, kernel, stride, dilation, begin, end) of one axis."""
    k, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 2)) if dilated else 1
    begin = draw(st.integers(0, k // 2))
    end = begin if like_torch else draw(st.integers(0, k // 2))
    extent = (k - 1) * d + 1
    return draw(st.integers(1, max(1, extent - begin - end) + 3)), k, s, d, begin, end


@st.composite
def pools(draw, kind, like_torch=False):
    """A pooling layer and a shape; `like_torch` keeps to what PyTorch allows."""
    dilated = not like_torch or kind is MaxPool
    ceil = draw(st.booleans())

    def reads_input(axis):
        at = axis_windows(*axis, ceil)
        return len(at) > 0 and bool(np.all(np.any((at >= 0) & (at < axis[0]), axis=1)))

    found = draw(st.lists(axes(like_torch, dilated).filter(reads_input), min_size=1, max_size=3))
    space, kernel, stride, dilation, begin, end = zip(*found, strict=True)
    options = {"ceil": ceil, "dilation": dilation, "padding": tuple(zip(begin, end, strict=True))}
    if kind is AveragePool:
        options["count_include_pad"] = draw(st.booleans())
    stride = None if stride == kernel and draw(st.booleans()) else stride
    return kind(kernel, stride, **options), (draw(st.integers(1, 2)), *space)


def cut(layer, x, fill=0.0):
    """Every window of x (batch, channels, *space), and how many taps count: (batch, channels, *out, taps), (*out)."""
    stride = layer.kernel if layer.stride is None else layer.stride
    counted = np.ones(())
    for axis, (n, k, s, d, (begin, end)) in enumerate(
        zip(x.shape[2:], layer.kernel, stride, layer.dilation, layer.padding, strict=True), start=2
    ):
        at = axis_windows(n, k, s, d, begin, end, layer.ceil)
        one_more = [(0, int(i == axis)) for i in range(x.ndim)]  # site n: what taps outside read
        wide = np.pad(x, one_more, constant_values=fill)
        x = np.moveaxis(np.take(wide, np.where((at >= 0) & (at < n), at, n), axis), axis + 1, -1)
        low, high = (-begin, n + end) if getattr(layer, "count_include_pad", False) else (0, n)
        counted = np.multiply.outer(counted, np.sum((at >= low) & (at < high), axis=1))
    return x.reshape(*x.shape[: 2 + len(stride)], -1), counted


class Experiment:
    """A pooling layer in a network of its own, run forward and backward once."""

    def __init__(self, layer, shape, x=None):
        rng = np.random.default_rng(0)
        self.net = Network.sequential(shape, [layer], rng=rng, dtype=np.float64)
        self.x = rng.standard_normal((2, *shape)) if x is None else np.asarray(x, np.float64)
        self.trace = self.net.run(self.x)
        self.y = self.trace[self.net.outputs[0]]
        self.dy = rng.standard_normal(self.y.shape)
        gradients = self.trace.backward(self.dy)
        self.dx, self.grads = gradients.inputs["input"], gradients.params


def dot_test(left, right, other_left, other_right):
    """⟨left, right⟩ = ⟨other_left, other_right⟩ to 1e-12 of the sum of the magnitudes."""
    scale = np.sum(np.abs(left * right)) + np.sum(np.abs(other_left * other_right))
    assert abs(np.sum(left * right) - np.sum(other_left * other_right)) <= 1e-12 * scale


# ---------------------------------------------------------------------- random geometries


@given(case=pools(AveragePool))
def test_the_average_is_the_sum_of_each_window_over_its_count(case, agree):
    layer, shape = case
    run = Experiment(layer, shape)
    windows, counted = cut(layer, run.x)
    agree(run.y, windows.sum(axis=-1) / counted)
    direction = np.random.default_rng(1).standard_normal(run.x.shape)
    dot_test(run.dx, direction, run.dy, cut(layer, direction)[0].sum(axis=-1) / counted)


@given(case=pools(Subsample))
def test_subsampling_is_one_coefficient_times_the_sum_of_each_window(case, agree):
    layer, shape = case
    run = Experiment(layer, shape)
    coefficients, column = run.net.params["subsample1.weight"], (slice(None), *(None,) * (len(shape) - 1))
    sums = cut(layer, run.x)[0].sum(axis=-1)
    agree(run.y, coefficients[column] * sums)
    others = tuple(i for i in range(sums.ndim) if i != 1)
    np.testing.assert_allclose(run.grads["subsample1.weight"], (run.dy * sums).sum(axis=others), rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.grads["subsample1.bias"], run.dy.sum(axis=others), rtol=0, atol=1e-12)
    direction = np.random.default_rng(1).standard_normal(run.x.shape)
    dot_test(run.dx, direction, run.dy, coefficients[column] * cut(layer, direction)[0].sum(axis=-1))


@given(case=pools(MaxPool), ties=st.booleans())
def test_the_maximum_is_the_first_largest_value_of_each_window(case, ties, agree):
    layer, shape = case
    x = np.random.default_rng(0).standard_normal((2, *shape))
    run = Experiment(layer, shape, np.round(x) if ties else x)
    windows, _ = cut(layer, run.x, fill=-np.inf)
    np.testing.assert_array_equal(run.y, windows.max(axis=-1))
    numbers = np.arange(run.x.size, dtype=np.float64).reshape(run.x.shape)
    chosen = np.take_along_axis(cut(layer, numbers)[0], windows.argmax(axis=-1)[..., None], axis=-1).astype(int)
    expected = np.bincount(chosen.ravel(), run.dy.ravel(), minlength=run.x.size).reshape(run.x.shape)
    np.testing.assert_allclose(run.dx, expected, rtol=0, atol=1e-13)
    for sample, y in zip(run.x, run.y, strict=True):
        (matrix,), offset = layer.affine_at({}, {}, sample)
        np.testing.assert_array_equal(matrix @ sample.ravel() + offset, y.ravel())
        assert np.all(matrix.data == 1)
        assert np.all(np.diff(matrix.indptr) == 1)


def torch_pool(torch, layer, name, x, *extra, **more):
    function = getattr(torch.nn.functional, f"{name}_pool{x.ndim - 2}d")
    return function(x, layer.kernel, layer.stride, tuple(begin for begin, _ in layer.padding), *extra, **more)


@given(case=pools(AveragePool, like_torch=True))
def test_the_average_is_what_torch_computes(case, torch, agree):
    layer, shape = case
    assume(
        len(shape) < 4 or all(n >= k for n, k in zip(shape[1:], layer.kernel, strict=True))
    )  # else avg_pool3d refuses
    run = Experiment(layer, shape)
    x = torch.tensor(run.x, requires_grad=True)
    y = torch_pool(torch, layer, "avg", x, layer.ceil, layer.count_include_pad)
    y.backward(torch.tensor(run.dy))
    agree(run.y, y.detach().numpy())
    agree(run.dx, x.grad.numpy())


@given(case=pools(MaxPool, like_torch=True), ties=st.booleans())
def test_the_maximum_is_what_torch_computes(case, ties, torch, agree):
    layer, shape = case
    x = np.random.default_rng(0).standard_normal((2, *shape))
    run = Experiment(layer, shape, np.round(x) if ties else x)
    x = torch.tensor(run.x, requires_grad=True)
    y = torch_pool(torch, layer, "max", x, layer.dilation, layer.ceil)
    y.backward(torch.tensor(run.dy))
    np.testing.assert_array_equal(run.y, y.detach().numpy())
    agree(run.dx, x.grad.numpy())


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 4), (2, 2, 3, 2)])
def test_global_pooling_takes_the_whole_map(shape, agree):
    axes = tuple(range(2, len(shape) + 1))
    average = Experiment(AveragePool("global"), shape)
    agree(average.y, average.x.mean(axis=axes, keepdims=True))
    largest = Experiment(MaxPool("global"), shape)
    np.testing.assert_array_equal(largest.y, largest.x.max(axis=axes, keepdims=True))
    summed = Experiment(Subsample("global", bias=False), shape)
    assert summed.net.output_shape == (2, *(1,) * (len(shape) - 1))


def test_with_ceil_a_window_may_be_larger_than_the_padded_input():
    """One window, of which less than a stride is outside, as in PyTorch and ONNX; with one more there is none."""
    x = np.arange(4.0).reshape(1, 1, 2, 2)
    run = Experiment(MaxPool(3, stride=2, ceil=True), (1, 2, 2), x)
    assert run.y.tolist() == [[[[3]]]]
    assert (run.dx != 0).tolist() == [[[[False, False], [False, True]]]]
    for include in (True, False):  # taps beyond the padding never count
        run = Experiment(AveragePool(3, stride=2, ceil=True, count_include_pad=include), (1, 2, 2), x)
        assert run.y.tolist() == [[[[1.5]]]]
    padded = Experiment(AveragePool(4, stride=2, padding=((1, 0),), ceil=True), (1, 2), np.full((1, 1, 2), 3.0))
    assert padded.y.tolist() == [[[2]]]  # of 1 + 2 taps that count one is padding
    for layer in (MaxPool(3, stride=2, ceil=True), AveragePool(3, stride=2, ceil=True), Subsample(3, 2, ceil=True)):
        assert [proof.ok for proof in equivalence(Experiment(layer, (1, 2, 2), x).net)] == [True]
    message = "expected a window no larger than the padded input, got 4 taps on 2 sites along axis 0"
    for layer in (Subsample(4, stride=2, ceil=True), Subsample(4, stride=3)):
        with pytest.raises(ShapeError, match=message):
            layer.output_shape((1, 2))


# ---------------------------------------------------------------------- special values


def test_ties_go_to_the_first_tap_in_c_order():
    run = Experiment(MaxPool(2), (1, 2, 2), [[[[5, 7], [7, 7]]]])
    assert (run.dx[0, 0] != 0).tolist() == [[False, True], [False, False]]
    zeros = Experiment(MaxPool(2), (1, 2, 2), [[[[0.0, -0.0], [0, 0]]]])
    assert (zeros.dx[0, 0] != 0).tolist() == [[True, False], [False, False]]


def test_nan_is_larger_than_any_number(torch):
    x = np.array([[[1.0, np.nan, 3.0, 4.0], [np.nan, np.nan, np.inf, -np.inf]]])
    run = Experiment(MaxPool(2, stride=1, padding=1), (2, 4), x)
    expected = [[1, np.nan, np.nan, 4, 4], [np.nan, np.nan, np.nan, np.inf, -np.inf]]
    np.testing.assert_array_equal(run.y, [expected])
    theirs = torch.nn.functional.max_pool1d(torch.tensor(x), 2, 1, 1)
    np.testing.assert_array_equal(run.y, theirs.numpy())
    leaf = torch.tensor(x, requires_grad=True)
    torch.nn.functional.max_pool1d(leaf, 2, 1, 1).backward(torch.tensor(run.dy))
    np.testing.assert_allclose(run.dx, leaf.grad.numpy(), rtol=1e-14)


def test_of_several_nan_the_last_gets_the_gradient():
    run = Experiment(MaxPool(2), (1, 2, 2), [[[[5, np.nan], [np.nan, 7]]]])
    assert (run.dx[0, 0] != 0).tolist() == [[False, False], [True, False]]
    (matrix,), _ = MaxPool(2).affine_at({}, {}, run.x[0])
    assert matrix.indices.tolist() == [2]


@pytest.mark.parametrize("batch", [1, 2])
def test_padding_is_never_chosen_even_among_minus_infinities(batch, torch, agree):
    x = np.full((batch, 1, 2, 3), -np.inf)
    layer = MaxPool((2, 2), (1, 1), ((1, 1), (1, 1)))
    run = Experiment(layer, (1, 2, 3), x)
    leaf = torch.tensor(x, requires_grad=True)
    torch.nn.functional.max_pool2d(leaf, 2, 1, 1).backward(torch.tensor(run.dy))
    agree(run.dx, leaf.grad.numpy())
    (matrix,), _ = layer.affine_at({}, {}, x[0])
    assert matrix.indices.min() >= 0


# ---------------------------------------------------------------------- what the layer is as a matrix


def test_averages_at_the_border_count_the_padding_or_not():
    x = np.ones((1, 1, 3))
    for include, expected in ((True, [0.5, 1]), (False, [1, 1])):
        run = Experiment(AveragePool(2, padding=((1, 0),), count_include_pad=include), (1, 3), x)
        assert run.y[0, 0].tolist() == expected
    # In ceil mode a window may reach beyond the padding: taps there never count.
    beyond = Experiment(AveragePool(3, stride=2, padding=((0, 1),), ceil=True), (1, 4), np.ones((1, 1, 4)))
    assert beyond.y[0, 0].tolist() == [1, pytest.approx(2 / 3)]
    beyond = Experiment(AveragePool(3, stride=3, ceil=True), (1, 4), np.ones((1, 1, 4)))
    assert beyond.y[0, 0].tolist() == [1, 1]


def test_weights_of_averages_are_fixed_and_shared_where_they_can_be():
    plain = Network.sequential((3, 4, 4), [AveragePool(2)])
    assert plain.params == {}
    assert repr(plain.node("averagepool1").matrix) == "TiedMatrix 12 x 48: 48 nonzeros share 1 weight"
    differs = Network.sequential((1, 4, 4), [AveragePool(3, padding=1, stride=1, count_include_pad=False)])
    assert differs.node("averagepool1").pattern.n_ties == 16
    assert set(differs.node("averagepool1").matrix.weight.tolist()) == {np.float32(1 / n) for n in (4, 6, 9)}


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Subsample(2), (6, 28, 28), Counts(12, 5_880, 5_880, 4_704, 0, 4_704)),  # LeNet-5 of 1998, S2
        (Subsample(2), (16, 10, 10), Counts(32, 2_000, 2_000, 1_600, 0, 1_600)),  # S4
        (AveragePool(2), (6, 28, 28), Counts(fixed_nonzeros=4_704)),
        (MaxPool(2), (6, 28, 28), Counts()),
    ],
)
def test_published_counts(layer, shape, expected):
    assert layer.counts(shape) == expected


# ---------------------------------------------------------------------- what courses teach


@pytest.mark.parametrize("kind", [AveragePool, MaxPool])
def test_pooling_leaves_fewer_sites_the_same_channels_and_no_parameters(kind):
    net = Network.sequential((64, 8, 8), [kind(2)], rng=0)
    assert net.output_shape == (64, 4, 4)
    assert net.params == {}


def test_the_maximum_keeps_a_signal_that_the_average_dilutes():
    one_strong_response = np.array([[[[0.0, 8.0], [0.0, 0.0]]]])
    assert Network.sequential((1, 2, 2), [MaxPool(2)]).predict(one_strong_response).item() == 8
    assert Network.sequential((1, 2, 2), [AveragePool(2)]).predict(one_strong_response).item() == 2


def test_pictures_that_differ_by_a_shift_agree_better_after_pooling():
    first = np.zeros((8, 8))
    first[[0, 2, 4, 6], [0, 2, 4, 6]] = [1, 2, 3, 4]  # a diagonal
    second = np.roll(first, (1, 1), axis=(0, 1))
    pooled = Network.sequential((1, 8, 8), [MaxPool(2)]).predict(np.stack([first, second])[:, None])
    assert np.sum((first == second) & (first > 0)) == 0
    np.testing.assert_array_equal(pooled[0], pooled[1])


@pytest.mark.parametrize(("ceil", "sites"), [(True, 56), (False, 55)])
def test_ceil_against_floor_changes_the_sites_of_googlenet(ceil, sites):
    assert MaxPool(3, stride=2, ceil=ceil).output_shape((64, 112, 112)) == (64, sites, sites)


@pytest.mark.parametrize("kind", [AveragePool, MaxPool, Subsample])
def test_tail_rows_that_floor_never_reached_get_zero_gradient(kind):
    run = Experiment(kind(2), (1, 5, 5))
    assert np.all(run.dx[:, :, 4] == 0)
    assert np.all(run.dx[:, :, :, 4] == 0)
    reached = Experiment(kind(2, ceil=True), (1, 5, 5))
    assert np.all(reached.dx[:, :, 4, 4] != 0)


@pytest.mark.parametrize("kind", [AveragePool, MaxPool])
@pytest.mark.parametrize(("options", "size"), [((1,), 1), ((4,), 4), ((1, 3), 7), ((3, 3, 1), 1)])
def test_extreme_geometries(kind, options, size):
    run = Experiment(kind(*options), (1, size, size))
    stride = options[1] if len(options) > 1 else options[0]
    x = run.x[:, :, ::stride, ::stride]
    if options[0] == 4:
        x = (np.max if kind is MaxPool else np.mean)(run.x, axis=(2, 3), keepdims=True)
    elif kind is AveragePool:
        x = x / (9 if len(options) == 3 else 1)  # a 1 x 1 picture in a 3 x 3 window
    np.testing.assert_allclose(run.y, x, rtol=0, atol=1e-15)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("kind", POOLS)
def test_options_are_checked_where_the_shape_is_known(kind):
    for layer, shape, wrong in [
        (kind(0), (1, 4), r" kernel: expected an integer of at least 1, got 0"),
        (kind(2, stride=0), (1, 4), r" stride: expected an integer of at least 1, got 0"),
        (kind((2, 2)), (1, 4), r" kernel: expected one integer or 1 of them"),
        (kind(5), (1, 4, 9), r": expected a window no larger than the padded input, got 5 taps on 4 sites along"),
        (kind(2), (4,), r": expected an input \(channels, \*space\), got \(4,\); reshape it first"),
        (
            kind(2, padding=((0, 0), (2, 0))),
            (1, 4, 4),
            r": expected every window to read some input, got only padding in one along axis 1; pad less",
        ),
        (kind(2, dilation=2, padding=1), (1, 1), r": expected every window to read some input, got only padding"),
    ]:
        with pytest.raises(ShapeError, match=POOLS[kind] + wrong):
            layer.output_shape(shape)


def test_a_window_that_no_input_fills_is_refused_before_it_divides_by_zero():
    assert math.isfinite(AveragePool(3, padding=2, stride=1, count_include_pad=False).fixed_weight((1, 2)).max())
    with pytest.raises(ShapeError, match="only padding in one along axis 0"):
        Network.sequential((1, 2), [AveragePool(2, padding=2, count_include_pad=False)])


@pytest.mark.parametrize("kind", [AveragePool, MaxPool, Subsample])
@pytest.mark.parametrize("option", [{"stride": 2}, {"padding": 1}, {"ceil": True}, {"dilation": 2}])
def test_a_global_kernel_takes_no_other_option(kind, option):
    with pytest.raises(ShapeError, match=r"expected no other option with the kernel 'global', got .*; leave them out"):
        kind("global", **option).output_shape((2, 4, 4))
