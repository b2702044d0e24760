"""Group, layer and instance normalisation: each sample is normalised by its own mean and variance."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from simulator import ChannelGroups, FunctionLayer, ShapeError, WindowPattern, hookimpl
from simulator.windows import check_size


class SampleNorm(FunctionLayer):
    """(x − mean) / √(variance + ε) over equal groups of channels of one sample, then weight and bias.

    A subclass has a field `epsilon`, and gives the number of groups and the shapes of weight and bias, if any.
    """

    who: str
    epsilon: float

    @abstractmethod
    def groups_of(self, channels):
        """How many groups the channels fall into."""

    def output_shape(self, *input_shapes):
        """The shape of the input."""
        if not 0 < self.epsilon < math.inf:
            raise ShapeError(f"{self.who} epsilon: expected a small positive number, got {self.epsilon}; 1e-5 is usual")
        return input_shapes[0]

    def init_params(self, rng, *input_shapes, dtype):
        """Weights of one and biases of zero."""
        first = {"weight": np.ones, "bias": np.zeros}
        return {name: first[name](shape, dtype) for name, shape in self.param_shapes(*input_shapes).items()}

    def support(self, *input_shapes):
        """Each unit depends on all units of its group."""
        units, groups = math.prod(input_shapes[0]), self.groups_of(input_shapes[0][0])
        together = np.arange(units // groups)[None]  # (1, units of a group): one window that sees all of them
        return [WindowPattern(ChannelGroups.full(units, groups, groups), groups, together, units // groups, (0, 0, 0))]

    def forward(self, params, buffers, *xs, training=False, rng=None):
        """Normalise each sample; training makes no difference."""
        (x,) = xs
        groups = self.groups_of(len(x))
        row = x.shape[-2] if x.ndim > 2 else 1
        grouped = x.reshape(groups, math.prod(x.shape[:-1]) // (groups * row), row, x.shape[-1])
        standard = grouped - _means(grouped)
        standard -= _means(standard)  # in float32 the mean of large numbers is off by some digits
        inverse = 1 / np.sqrt(_means(standard, standard) + x.dtype.type(self.epsilon))
        standard *= inverse
        y = standard.reshape(x.shape)
        if "weight" in params:
            weight, bias = (_with_axes(params[name], x.ndim) for name in ("weight", "bias"))
            y = y * weight
            y += bias

        def pullback(dy):
            dstandard, grads = dy, {}
            if "weight" in params:
                over = tuple(range(params["weight"].ndim, x.ndim))
                dstandard = dy * weight
                grads = {"weight": np.sum(dy * standard.reshape(x.shape), axis=over), "bias": np.sum(dy, axis=over)}
            dstandard = dstandard.reshape(grouped.shape)
            dx = dstandard - _means(dstandard)
            dx -= standard * _means(dstandard, standard)
            dx *= inverse
            return (dx.reshape(x.shape),), grads

        return y, pullback, {}


def _means(*factors):
    """Mean product of arrays (groups, rows, row, batch) for each group and sample, (groups, 1, 1, batch)."""
    rows = np.einsum(",".join(["grsb"] * len(factors)) + "->grb", *factors)  # sums of sums are accurate, and quick
    return rows.sum(axis=1)[:, None, None] / (factors[0].shape[1] * factors[0].shape[2])


def _with_axes(array, ndim):
    return array.reshape(*array.shape, *(1,) * (ndim - array.ndim))


@dataclass(frozen=True)
class GroupNorm(SampleNorm):
    """Mean 0 and variance 1 for each group of channels of each sample, then a weight and a bias per channel.

    As a matrix: none, for mean and variance depend on the sample.

    Parameters
    ----------
    groups : int
        Number of groups, a divisor of the channels.
    epsilon : float, default 1e-5
        Added to the variance, so that nothing is divided by zero.

    Raises
    ------
    ShapeError
        If the groups do not divide the channels, or epsilon is not positive.

    References
    ----------
    Y. Wu and K. He, "Group normalization", 2018.

    Examples
    --------
    >>> layer = GroupNorm(2)
    >>> params = layer.init_params(None, (4,), dtype=float)
    >>> layer.forward(params, {}, np.array([[1.0], [3.0], [10.0], [30.0]]))[0].round(2).ravel()
    array([-1.,  1., -1.,  1.])
    """

    groups: int
    epsilon: float = 1e-5
    who = "group-norm"

    def groups_of(self, channels):
        """The number given."""
        return self.groups

    def output_shape(self, *input_shapes):
        """The shape of the input."""
        channels = input_shapes[0][0]
        if channels % check_size(self.groups, "group-norm groups"):
            raise ShapeError(
                f"group-norm groups: expected a divisor of {channels} channels, got {self.groups}; change the groups "
                "or the channels"
            )
        return super().output_shape(*input_shapes)

    def param_shapes(self, *input_shapes):
        """A weight and a bias for each channel."""
        return {"weight": input_shapes[0][:1], "bias": input_shapes[0][:1]}


@dataclass(frozen=True)
class LayerNorm(SampleNorm):
    """Mean 0 and variance 1 for each whole sample, then a weight and a bias per unit.

    As a matrix: none, for mean and variance depend on the sample.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Added to the variance, so that nothing is divided by zero.

    Raises
    ------
    ShapeError
        If epsilon is not positive.

    Notes
    -----
    PyTorch's ``LayerNorm`` with the sample's shape, (channels, *space), as ``normalized_shape``.

    References
    ----------
    J. L. Ba, J. R. Kiros, G. Hinton, "Layer normalization", 2016.

    Examples
    --------
    >>> layer = LayerNorm()
    >>> layer.param_shapes((2, 3, 3))["weight"]
    (2, 3, 3)
    """

    epsilon: float = 1e-5
    who = "layer-norm"

    def groups_of(self, channels):
        """One."""
        return 1

    def param_shapes(self, *input_shapes):
        """A weight and a bias for each unit."""
        return {"weight": input_shapes[0], "bias": input_shapes[0]}


@dataclass(frozen=True)
class InstanceNorm(SampleNorm):
    """Mean 0 and variance 1 for each channel of each sample.

    As a matrix: none, for mean and variance depend on the sample.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Added to the variance, so that nothing is divided by zero.
    affine : bool, default False
        Whether a trained weight and bias per channel follow.

    Raises
    ------
    ShapeError
        If epsilon is not positive, or a channel has only one site.

    References
    ----------
    D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance normalization: the missing ingredient for fast stylization", 2016.

    Examples
    --------
    >>> x = np.array([[[1.0], [3.0]], [[10.0], [30.0]]])
    >>> InstanceNorm().forward({}, {}, x)[0].round(2).ravel()
    array([-1.,  1., -1.,  1.])
    """

    epsilon: float = 1e-5
    affine: bool = False
    who = "instance-norm"

    def groups_of(self, channels):
        """As many as channels."""
        return channels

    def output_shape(self, *input_shapes):
        """The shape of the input."""
        if math.prod(input_shapes[0][1:]) < 2:
            raise ShapeError(
                f"instance-norm: expected at least two sites per channel, got {input_shapes[0]}; a single value minus "
                "its mean is always 0, so normalise earlier, or by layer-norm"
            )
        return super().output_shape(*input_shapes)

    def param_shapes(self, *input_shapes):
        """None, or a weight and a bias for each channel."""
        return {"weight": input_shapes[0][:1], "bias": input_shapes[0][:1]} if self.affine else {}


@hookimpl
def register_layers(register):
    register("group-norm", GroupNorm, examples=[(GroupNorm(2), (4, 3)), (GroupNorm(1), (3, 2, 2))])
    register("layer-norm", LayerNorm)
    register("instance-norm", InstanceNorm, examples=[(InstanceNorm(affine=True), (2, 3)), (InstanceNorm(), (2, 3, 3))])
