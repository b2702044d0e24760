"""Four facts that hold to the last digits because a network is its matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulator import Conv, Experiment, Finding, MatrixLayer, Network, hookimpl
from simulator.lab import affine

_AFFINE, _FIELD, _SINGULAR, _DOT = "f(x) = A x + b", "effective field", "singular values", "dot test"
_NETS = {
    "lenet5": ("lenet5", (1, 28, 28), {}),
    "nin-cifar10, narrow": ("nin-cifar10", (3, 16, 16), {"width": 0.125}),
    "googlenet-torchvision, narrow": ("googlenet-torchvision", (3, 32, 32), {"width": 0.125}),
    "resnet20-cifar, narrow": ("resnet20-cifar", (3, 16, 16), {"width": 0.5}),
}
_FIELDS = {f"{n} layers of {k} x {k}": (n, k) for n, k in ((5, 3), (10, 3), (20, 3), (10, 5), (5, 7))}
_PADDINGS = {"circular against the FFT": "circular", "zeros against the FFT": "constant"}
_KINDS = ("matrices", "layers that choose a matrix")
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class ExactAlgebra(Experiment):
    """Algebra of convolutional nets as matrices, exact to rounding: one matrix, Gaussian fields, spectra, adjoints.

    - f(x) = A x + b: whole piecewise linear nets at a random sample, with all weights moved off their first values and
      small random running means. Measured is the largest difference, and as the value that of A x, both over the
      largest output: behind dead ReLUs b alone would be the output, and the equality would say nothing.
    - Effective receptive field: n convolutions of k x k with equal weights are one matrix whose row of the middle unit
      spreads with σ = √(n (k² - 1) / 12) along each axis, as a sum of n uniform steps does.
    - Singular values of a convolution (3 channels to 4, 3 x 3, on 8 x 8) with circular padding are those of the
      transfer matrices that the FFT of the kernel gives, one for each frequency. With zeros on the padding they are
      not.
    - Dot test: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for every layer of the catalog that is a matrix, or one at a sample; there A is
      what `affine_at` says and Aᵀ y what the way back computes.

    All in double precision. Published are the facts; the numbers are bounds on rounding.

    References
    ----------
    R. Balestriero, R. Baraniuk, "A spline theory of deep learning", 2018; W. Luo, Y. Li, R. Urtasun, R. Zemel,
    "Understanding the effective receptive field in deep convolutional neural networks", 2016; H. Sedghi, V. Gupta,
    P. Long, "The singular values of convolutional layers", 2019.

    Examples
    --------
    >>> from simulator import Catalog
    >>> (row,) = ExactAlgebra().run({"what": "effective field", "case": "10 layers of 3 x 3"}, 0, Catalog())
    >>> f"{row['value']:.4f}", row["difference"] < 1e-12
    ('2.5820', True)
    """

    seeds: ClassVar[int] = 5

    def conditions(self, quick=False):
        cases = {_AFFINE: _NETS, _FIELD: _FIELDS, _SINGULAR: _PADDINGS, _DOT: _KINDS}
        return [{"what": what, "case": case} for what, names in cases.items() for case in names]

    def run(self, condition, seed, catalog):
        what, case = condition["what"], condition["case"]
        rng = np.random.default_rng(seed)
        row = {"difference": None, "value": None, "expected": None, "compared": None}
        if what == _AFFINE:
            found, share = _one_matrix(catalog, *_NETS[case], rng)
            row |= {"difference": found.difference, "value": share, "compared": len(found.y)}
        elif what == _FIELD:
            n, k = _FIELDS[case]
            value, expected = _spread(n, k), (n * (k**2 - 1) / 12) ** 0.5
            row |= {"difference": abs(value - expected) / expected, "value": value, "expected": expected, "compared": 1}
        elif what == _SINGULAR:
            own, other = _singular_values(_PADDINGS[case], rng)
            row |= {"difference": float(np.abs(own - other).max() / other.max()), "compared": len(own)}
        else:
            found = _dot_tests(catalog, case == _KINDS[0], rng)
            row |= {"difference": max(found.values()), "compared": len(found)}
        return [row]

    def findings(self, table):
        rows = {(row["what"], row["case"]): row for row in table}
        zeros = rows[_SINGULAR, "zeros against the FFT"]
        ten = rows[_FIELD, "10 layers of 3 x 3"]
        claims = {
            _AFFINE: "whole piecewise linear nets are one matrix and one vector at a sample",
            _FIELD: "n equal k x k convolutions spread with σ = √(n(k² - 1)/12)",
            _SINGULAR: "singular values of a circular convolution are those of the FFT's transfer matrices",
            _DOT: "⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for every layer that is a matrix, or one at a sample",
        }
        findings = []
        for what, claim in claims.items():
            own = [row for row in table if row["what"] == what and row is not zeros]
            largest = max(row["difference"] for row in own)
            told = f"largest difference {largest:.1e} in {sum(row['compared'] for row in own)} comparisons"
            told += f"; k = 3, n = 10: {ten['value']:.4f}" if what == _FIELD else ""
            expected = "1e-12; k = 3, n = 10: 2.5820" if what == _FIELD else "1e-12"
            findings.append(Finding(claim, expected, told, largest <= _TOLERANCE))
        least = min(row["value"] for row in table if row["what"] == _AFFINE)
        findings.insert(
            1,
            Finding(
                "the matrix makes the output, not the vector alone",
                "A x is at least a tenth of it",
                f"at least {least:.2g} of the largest output in each net",
                least > 0.1,
            ),
        )
        findings.append(
            Finding(
                "with zeros on the padding the singular values are others",
                "visibly different",
                f"difference {zeros['difference']:.2g} of the largest",
                zeros["difference"] > 1e-3,
            )
        )
        return findings

    def draw(self, table, figure):
        figure.set_size_inches(8, 1.5 + 0.3 * len(table))
        ax = figure.subplots()
        colours = {_AFFINE: "tab:blue", _FIELD: "tab:green", _SINGULAR: "tab:orange", _DOT: "tab:purple"}
        for place, row in enumerate(table):
            ax.plot(row["difference"], place, "o", color=colours[row["what"]])
        ax.axvline(_TOLERANCE, color="0.5", linestyle="--")
        ax.text(_TOLERANCE, -0.8, " 1e-12", color="0.4", va="center")
        ax.set_yticks(range(len(table)), [f"{row['what']}: {row['case']}" for row in table], fontsize=8)
        ax.invert_yaxis()
        ax.set_xscale("symlog", linthresh=1e-18)  # some differences are exactly 0
        ax.set(xlim=(-1e-18, 10), xticks=[0, 1e-16, 1e-12, 1e-8, 1e-4, 1])
        ax.set_xlabel("relative difference; left of the line is rounding")
        ax.grid(axis="x", color="0.9")


def _one_matrix(catalog, name, shape, options, rng):
    network = catalog.build(name, shape, classes=10, rng=rng, dtype="float64", **options)
    network = network.with_params({key: a + 0.1 * rng.standard_normal(a.shape) for key, a in network.params.items()})
    means = {key: 0.1 * rng.standard_normal(a.shape) for key, a in network.buffers.items() if key.endswith("mean")}
    others = {key: 0.5 + rng.random(a.shape) for key, a in network.buffers.items() if key not in means}
    network, x = network.with_buffers(means | others), rng.standard_normal(shape)
    found = affine(network, x)
    return found, float(np.abs(found.A @ x.ravel()).max() / np.abs(found.y).max())


def _spread(n, k):
    """Standard deviation along an axis of the row that the middle unit has after n equal k x k convolutions."""
    size = n * (k - 1) + 1
    network = Network.sequential((1, size, size), [Conv(1, k, bias=False)] * n, rng=0, dtype="float64")
    network = network.with_params({name: np.full(shape, k**-2.0) for name, shape in network.param_shapes.items()})
    row = affine(network, np.zeros((1, size, size))).A.toarray().reshape(size, size)  # one unit is left: the middle
    weights, at = row.sum(axis=1) / row.sum(), np.arange(size)
    return float(np.sqrt(weights @ (at - weights @ at) ** 2))


def _singular_values(padding_mode, rng, size=8):
    """Of the matrix of a convolution, and of the transfer matrices of its kernel; each in descending order."""
    layer = Conv(4, 3, padding=1, padding_mode=padding_mode, bias=False)
    network = Network.sequential((3, size, size), [layer], rng=rng, dtype="float64")
    own = np.linalg.svd(network.node("conv1").matrix.tocsr().toarray(), compute_uv=False)
    transfer = np.fft.fft2(network.params["conv1.weight"], (size, size))  # (out, in, frequency, frequency)
    other = np.linalg.svd(transfer.transpose(2, 3, 0, 1), compute_uv=False)
    return own, np.sort(other.ravel())[::-1]


def _dot_tests(catalog, fixed, rng):
    """⟨A x, y⟩ - ⟨x, Aᵀ y⟩ over the sum of the magnitudes, for each layer of the catalog, by name."""
    found = {}
    for name, entry in catalog.layers.entries.items():
        usual = () if entry.examples else [(entry.object(), *[(4, 4, 4)] * (entry.object.inputs or 2))]
        for layer, *shapes in (*entry.examples, *usual):
            if isinstance(layer, MatrixLayer) != fixed:
                continue
            network = Network.input(shapes[0], "x0", dtype="float64")
            for i, shape in enumerate(shapes[1:], start=1):
                network = network.add_input(shape, f"x{i}")
            network = network.add(layer, *network.inputs, name="layer", rng=rng)
            x = {key: rng.standard_normal(network.nodes[key].shape) for key in network.inputs}
            trace = network.run({key: array[None] for key, array in x.items()})
            y = rng.standard_normal(network.nodes["layer"].shape)
            back = trace.backward({"layer": y[None]}).inputs
            node = network.node("layer")
            parts = [node.matrix.tocsr()] if fixed else None
            if not fixed:
                parts, _ = layer.affine_at(node.params, node.buffers, *x.values()) or (None, None)
            if parts is not None:
                forward = sum(A @ array.ravel() for A, array in zip(parts, x.values(), strict=True))
                terms = forward * y.ravel()
                dot = sum(float(np.sum(back[key] * array)) for key, array in x.items())
                found[name] = max(found.get(name, 0.0), abs(terms.sum() - dot) / np.abs(terms).sum())
    return found


@hookimpl
def register_experiments(register):
    register("exact-algebra", ExactAlgebra)
