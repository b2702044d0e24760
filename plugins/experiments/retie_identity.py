"""The untied gradient step, projected back onto the ties, against the tied one, for every way to share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulator import CrossEntropy, Experiment, Finding, Network, hookimpl
from simulator.lab import retie, untie

_SHAPE = (4, 9, 8)  # of the input
_LAYERS = {
    "conv 3x3": ("conv", (6, 3), {}),
    "conv 5x5, stride 2, padded": ("conv", (6, 5), {"stride": 2, "padding": 2}),
    "conv, dilated, in groups": ("conv", (6, 3), {"dilation": 2, "padding": 1, "groups": 2}),
    "connection table": ("conv", (3, 3), {"table": ((0, 1), (1, 2, 3), (0, 3))}),
    "depthwise": ("depthwise-conv", (3,), {"multiplier": 2, "padding": 1}),
    "transposed conv": ("conv-transpose", (3, 4), {"stride": 2, "padding": 1}),
    "subsampling": ("subsample", (2,), {}),
    "circular, inputs read twice": ("conv", (6, 10), {"padding": 5, "padding_mode": "circular"}),
}
_TWICE = "circular, inputs read twice"
_NET = "three layers, digits"


@dataclass(frozen=True)
class RetieIdentity(Experiment):
    """Untying, a gradient step and retying is the tied step with each rate divided by the weight's multiplicity.

    A layer's matrix is vec(W) = S θ, with a 1 in each row of S for the weight that the connection uses. The gradient by
    θ is Sᵀg, where g is that of the untied weights; the least squares projection of the untied step is
    θ - η (SᵀS)⁻¹ Sᵀ g. Where no window reads an input twice, SᵀS is diagonal and holds how many connections share each
    weight. So learning with untied weights that are now and then pulled together is learning with shared ones.

    Each run draws first weights, a batch, and the gradient of its outputs, goes both ways in double precision, and
    compares all weights and biases: one step for single layers, 20 steps for a net of three layers on digits. Measured
    is the largest difference relative to the largest move. In one case windows read some inputs twice: there SᵀS is not
    diagonal, and the identity with multiplicities must fail.

    Parameters
    ----------
    rate : float, default 0.1
        Learning rate.

    References
    ----------
    R. Pogodin, Y. Mehta, T. Lillicrap, P. Latham, "Towards biologically plausible convolutional networks", 2021.

    Examples
    --------
    >>> from simulator import Catalog
    >>> RetieIdentity().run({"layer": "conv 3x3", "steps": 1}, 0, Catalog())[0]["difference"] < 1e-12
    True
    """

    rate: float = 0.1
    seeds: ClassVar[int] = 5

    def conditions(self, quick=False):
        return [*({"layer": name, "steps": 1} for name in _LAYERS), {"layer": _NET, "steps": 5 if quick else 20}]

    def run(self, condition, seed, catalog):
        rng = np.random.default_rng(seed)
        if condition["layer"] == _NET:
            digits = catalog.load_data("digits", (1, 16, 16))
            batch = digits.take(rng.permutation(len(digits))[:100])
            windows = (("conv", (4, 5), {"stride": 2, "padding": 2}), ("conv", (6, 3), {"stride": 2, "padding": 1}))
            layers = [each for layer in windows for each in (_made(catalog, layer), catalog.make("relu"))]
            layers.append(catalog.make("dense", 10))
            network = Network.sequential(digits.shape, layers, rng=rng, dtype="float64")

            def output_gradient(y):
                return CrossEntropy().grad(y, batch.targets)

            x = batch.inputs
        else:
            network = Network.sequential(
                _SHAPE, [_made(catalog, _LAYERS[condition["layer"]])], rng=rng, dtype="float64"
            )
            x, dy = rng.standard_normal((8, *_SHAPE)), rng.standard_normal((8, *network.output_shape))

            def output_gradient(y):
                return dy

        patterns = [node.pattern for node in network.nodes.values() if "weight" in node.param_shapes]
        connections, weights = sum(p.nnz for p in patterns), sum(p.n_ties for p in patterns)
        return [
            {
                "connections": connections,
                "weights": weights,
                "multiplicity": connections / weights,
                "difference": _difference(network, x, output_gradient, condition["steps"], self.rate),
            }
        ]

    def findings(self, table):
        once = [row for row in table if row["layer"] != _TWICE]
        (twice,) = (row for row in table if row["layer"] == _TWICE)
        largest = max(row["difference"] for row in once)
        return [
            Finding(
                f"untied step, retied = tied step with rates divided by multiplicities, {len(once)} cases",
                "equal to 1e-12",
                f"largest difference {largest:.1e}",
                largest <= 1e-12,
            ),
            Finding(
                "where windows read inputs twice, it is not so",
                "visibly different",
                f"difference {twice['difference']:.2g}",
                twice["difference"] > 1e-6,
            ),
        ]

    def draw(self, table, figure):
        ax = figure.subplots()
        colours = ["tab:red" if row["layer"] == _TWICE else "tab:blue" for row in table]
        ax.scatter([row["difference"] for row in table], range(len(table)), c=colours)
        ax.axvline(1e-12, color="0.5", linestyle="--")
        ax.text(1e-12, -0.7, " 1e-12", color="0.4", va="center")
        labels = [f"{row['layer']}\n{row['multiplicity']:.1f} connections per weight" for row in table]
        ax.set_yticks(range(len(table)), labels, fontsize=8)
        ax.invert_yaxis()
        ax.set_xscale("symlog", linthresh=1e-18)  # some differences are exactly 0
        ax.set(xlim=(-1e-18, 10), xticks=[0, 1e-16, 1e-12, 1e-8, 1e-4, 1])
        ax.set_xlabel("untied step retied - tied step with rates divided, over the largest move")
        ax.grid(axis="x", color="0.9")


def _made(catalog, layer):
    name, arguments, options = layer
    return catalog.make(name, *arguments, **options)


def _difference(network, x, output_gradient, steps, rate):
    """Largest difference between both ways after some steps, relative to the largest move of a weight."""

    def gradients(network):
        trace = network.run(x)
        return trace.backward(output_gradient(trace[network.output_name]), params_only=True).params

    tied = projected = network
    shared = _multiplicities(network)
    for _ in range(steps):
        loose = untie(projected)
        free = gradients(loose)
        loose = loose.with_params({name: array - rate * free[name] for name, array in loose.params.items()})
        projected = retie(loose, network)
        own = gradients(tied)
        tied = tied.with_params({name: array - rate / shared[name] * own[name] for name, array in tied.params.items()})
    before, one, other = network.params, tied.params, projected.params
    moved = max(np.abs(one[name] - before[name]).max() for name in before)
    return float(max(np.abs(one[name] - other[name]).max() for name in before) / moved)


def _multiplicities(network):
    """How many connections share each weight, and how many units each bias, by name of the array."""
    found = {}
    for name, node in network.nodes.items():
        for key, shape in node.param_shapes.items():
            if key == "weight":
                counts = np.bincount(node.pattern.triplets()[2], minlength=node.pattern.n_ties)
                found[f"{name}.weight"] = np.maximum(counts, 1).reshape(shape)
            else:
                found[f"{name}.bias"] = np.prod(node.shape) // np.prod(shape)
    return found


@hookimpl
def register_experiments(register):
    register("retie-identity", RetieIdentity)
