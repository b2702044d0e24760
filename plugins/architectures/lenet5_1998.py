"""LeNet-5 as published in 1998: connection table, trainable subsampling, scaled tanh, fixed output codes, its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator import Counts, CrossEntropy, FunctionLayer, Network, ShapeError, hookimpl
from simulator.declared import Declared
from simulator.losses import check_labels
from simulator.schedules import check_number

# Which maps of S2 each map of C3 reads (table I of the paper).
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# Stylised digits of 7 x 12 in the manner of the paper's figure 3; a word is a row, the first row is empty.
_GLYPHS = (
    "..###.. .##.##. ##...## ##...## ##...## ##...## ##...## ##...## .##.##. ..###.. .......",
    "...##.. ..###.. .####.. ...##.. ...##.. ...##.. ...##.. ...##.. ...##.. .###### .......",
    ".#####. ##...## .....## .....## ....##. ...##.. ..##... .##.... ##..... ####### .......",
    ".#####. ##...## .....## .....## ..####. .....## .....## .....## ##...## .#####. .......",
    "....##. ...###. ..####. .##.##. ##..##. ####### ....##. ....##. ....##. ....##. .......",
    "####### ##..... ##..... ##..... ######. .....## .....## .....## ##...## .#####. .......",
    "..####. .##.... ##..... ##..... ######. ##...## ##...## ##...## ##...## .#####. .......",
    "####### .....## .....## ....##. ....##. ...##.. ...##.. ..##... ..##... ..##... .......",
    ".#####. ##...## ##...## ##...## .#####. ##...## ##...## ##...## ##...## .#####. .......",
    ".#####. ##...## ##...## ##...## ##...## .###### .....## .....## ....##. .####.. .......",
)
CODES = tuple("......." + "".join(glyph.split()) for glyph in _GLYPHS)  # 84 cells each


@dataclass(frozen=True)
class RBF(FunctionLayer):
    """Minus the squared distance to fixed codes, one per class; the largest output is the nearest code.

    Parameters
    ----------
    codes : sequence of str
        One code per class; "#" stands for +1, any other character for -1.

    References
    ----------
    Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II.B.

    Examples
    --------
    >>> RBF(("##", "..")).forward({}, {}, np.array([[1.0], [1.0]]))[0]
    array([[ 0.],
           [-8.]])
    """

    codes: Sequence[str]

    def _centres(self, dtype):
        return np.array([[1 if cell == "#" else -1 for cell in code] for code in self.codes], dtype)

    def output_shape(self, *input_shapes):
        """(classes,) for an input of as many units as a code has cells."""
        (shape,) = input_shapes
        if len(shape) != 1 or any(len(code) != shape[0] for code in self.codes):
            lengths = sorted({len(code) for code in self.codes})
            raise ShapeError(
                f"rbf: expected a flat input of {lengths} units, one per cell of a code, got {shape}; flatten it"
            )
        return (len(self.codes),)

    def counts(self, *input_shapes):
        """The distances use every input once per class; the codes are fixed, but counted as published."""
        links = len(self.codes) * input_shapes[0][0]
        return Counts(params=0, connections=links, links=links, nonzeros=links, macs=links)

    def forward(self, params, buffers, *xs, training=False, rng=None):
        """Distances of a batch (units, batch) to all codes: (classes, batch)."""
        (x,) = xs
        centres = self._centres(x.dtype)
        y = 2 * (centres @ x) - np.sum(x * x, axis=0) - np.sum(centres * centres, axis=1)[:, None]

        def pullback(dy):
            return (2 * (centres.T @ dy - x * np.sum(dy, axis=0)),), {}

        return y, pullback, {}


@dataclass(frozen=True)
class MaximumAPosteriori(Declared):
    """Penalty of the right class, against those of all classes and of one for rubbish: −log of its probability.

    Parameters
    ----------
    rubbish : float, default 10
        The penalty of whatever belongs to no class.

    Raises
    ------
    ShapeError
        If the number is negative, or labels do not fit the logits.

    Notes
    -----
    d[label] + log(exp(−rubbish) + Σⱼ exp(−dⱼ)), averaged over the batch, where the penalty dⱼ of a class is minus its
    logit: the cross-entropy with one more class. Cross-entropy alone knows differences of penalties only, and leaves
    those of all codes large; here the right one is pulled below that of rubbish, and wrong ones are pushed up only as
    far as that. The paper does not say how large it is.

    References
    ----------
    Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998, equation 9.

    Examples
    --------
    >>> loss = MaximumAPosteriori(rubbish=10)
    >>> print(f"{loss.value(np.array([[-5.0, -50.0]]), [0]):.3f} {loss.value(np.array([[-50.0, -95.0]]), [0]):.3f}")
    0.007 40.000
    """

    rubbish: float = 10.0

    def __post_init__(self):
        check_number(self.rubbish, "maximum-a-posteriori rubbish")

    def value(self, prediction, target):
        """Mean loss of logits (batch, classes) for integer labels (batch,)."""
        return CrossEntropy().value(*self._with_rubbish(prediction, target))

    def grad(self, prediction, target):
        """Its gradient, (batch, classes)."""
        return CrossEntropy().grad(*self._with_rubbish(prediction, target))[:, :-1]

    def _with_rubbish(self, prediction, target):
        """Logits of one more class (batch, classes + 1), and the labels."""
        labels = check_labels("maximum-a-posteriori", prediction, target)
        rubbish = np.full((len(prediction), 1), -self.rubbish, prediction.dtype)
        return np.concatenate([prediction, rubbish], axis=1), labels


def lenet5_1998(make, input_shape=(1, 32, 32), classes=10, rng=None):
    """LeNet-5 of 1998 with exactly its 340,908 connections and 60,000 trained params at 32 x 32.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : (1, height, width), default (1, 32, 32)
        32 x 32, or 28 x 28, which is padded by 2 first.
    classes : int, default 10
        At most ten: the output codes are stylised digits.
    rng : numpy.random.Generator or None
        Draws the first weights.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    if tuple(input_shape) not in ((1, 28, 28), (1, 32, 32)):
        raise ShapeError(
            f"lenet5-1998: expected an input of 1x32x32 or 1x28x28, as published, got {tuple(input_shape)}; resize the "
            "pictures, or use lenet5"
        )
    if classes > len(CODES):
        raise ShapeError(
            f"lenet5-1998: expected at most 10 classes, it has ten output codes, got {classes}; use lenet5"
        )
    layers = [
        ("c1", make("conv", 6, kernel=5, init="lecun")),
        ("c1-tanh", make("scaled-tanh")),
        ("s2", make("subsample", 2)),
        ("s2-tanh", make("scaled-tanh")),
        ("c3", make("conv", 16, kernel=5, table=C3_TABLE, init="lecun")),
        ("c3-tanh", make("scaled-tanh")),
        ("s4", make("subsample", 2)),
        ("s4-tanh", make("scaled-tanh")),
        ("c5", make("conv", 120, kernel=5, init="lecun")),
        ("c5-tanh", make("scaled-tanh")),
        ("flatten", make("flatten")),
        ("f6", make("dense", 84, init="lecun")),
        ("f6-tanh", make("scaled-tanh")),
        ("output", make("rbf", CODES[:classes])),
    ]
    if input_shape[1] == 28:
        layers.insert(0, ("pad", make("pad", 2)))
    return Network.input(input_shape).chain(layers, rng=rng)


@hookimpl
def register_layers(register):
    register("rbf", RBF, examples=[(RBF(("##.", ".#.")), (3,))])


@hookimpl
def register_losses(register):
    register("maximum-a-posteriori", MaximumAPosteriori)


@hookimpl
def register_architectures(register):
    register("lenet5-1998", lenet5_1998, lr=0.001, epochs=40, losses={"output": "maximum-a-posteriori"})
