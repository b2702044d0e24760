"""Nets that have memorised random labels need more of their units than nets that have learned something."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from simulator import (
    Dataset,
    Dense,
    Experiment,
    Finding,
    Network,
    RandomShift,
    ReLU,
    Workspace,
    deviations,
    hookimpl,
    train,
    with_deviation,
)
from simulator.losses import accuracy

_EXPECTED = {0.0: 0.70, 0.25: 0.53, 0.5: 0.46, 1.0: 0.42}  # area by share of random labels, of a prototype
_STEPS = 10  # from no unit to all of them
_LAYERS = ("relu1", "relu2")


@dataclass(frozen=True)
class Clamping(Experiment):
    """Nets that memorised random labels need more of their units: clamp growing sets of them, and see what is left.

    Fully connected nets with two hidden layers of ReLUs are trained until they are right on all their samples, of which
    0, 25, 50 or 100 % have random labels. Then the hidden units of both layers are clamped in random order, a tenth of
    them more at a time, to zero or each to its mean over the samples, and the accuracy on the same samples is measured.
    The area under this curve, over the share of clamped units from 0 to 1, is large where no single unit counts.

    As a matrix: columns of the next layer's matrix are cut, or moved into its bias.

    Data: the digits that come with scikit-learn, 8 x 8, upsampled to 16 x 16, each shifted once by up to 2 pixels along
    both axes. One seed draws the same samples, shifts, random labels and first weights for every share. Training
    (momentum 0.9, rate 0.02, batches of 50) ends as soon as all samples are right. Published are a net of two layers on
    MNIST and convolutional nets on CIFAR-10 and ImageNet: the more random labels, the earlier the curves fall, and
    means harm more than zeros. The expected areas are those of a prototype with another net: their order is what
    is compared.

    Parameters
    ----------
    width : int, default 256
        Units of each hidden layer.
    orders : int, default 10
        In which the units of each net are clamped.
    epochs : int, default 300
        At most, should a net not fit its samples.

    References
    ----------
    A. S. Morcos, D. G. T. Barrett, N. C. Rabinowitz, M. Botvinick, "On the importance of single directions for
    generalization", 2018; C. Zhang, S. Bengio, M. Hardt, B. Recht, O. Vinyals, "Understanding deep learning requires
    rethinking generalization", 2017 (random labels).

    Examples
    --------
    >>> [condition["random labels"] for condition in Clamping().conditions()]
    [0.0, 0.25, 0.5, 1.0]
    """

    width: int = 256
    orders: int = 10
    epochs: int = 300
    by: ClassVar[tuple[str, ...]] = ("clamped to", "clamped")

    def conditions(self, quick=False):
        shares, samples = ((0.0, 0.5, 1.0), 200) if quick else (tuple(_EXPECTED), 500)
        return [{"random labels": share, "samples": samples} for share in shares]

    def run(self, condition, seed, catalog):
        rng = np.random.default_rng(seed)
        data = partly_random(catalog.load_data("digits", (1, 16, 16)), *condition.values(), rng)
        layers = [Dense(self.width), ReLU(), Dense(self.width), ReLU(), Dense(10)]
        network = Network.sequential(data.shape, layers, rng=rng, engine=catalog.engine("auto", threads=1, ready=True))
        network, epochs = self._fitted(network, data, catalog, rng)
        rows = []
        for value in ("zero", "mean"):
            curve = np.mean([clamped(network, data, value, rng) for _ in range(self.orders)], axis=0)
            measured = {"area": float(np.mean((curve[1:] + curve[:-1]) / 2)), "epochs": epochs}
            rows += [
                {"clamped to": value, "clamped": step / _STEPS, "accuracy": float(share), **measured}
                for step, share in enumerate(curve)
            ]
        return rows

    def _fitted(self, network, data, catalog, rng):
        """The network as soon as it is right on all samples, and after how many epochs."""
        workspace, optimizer = Workspace(network), catalog.create("optimizers", "momentum", lr=0.02)
        for epoch in train(network, data, epochs=self.epochs, batch_size=50, optimizer=optimizer, rng=rng):
            if accuracy(workspace.run(epoch.network, data.inputs)[network.output_name], data.labels) == 1:
                break
        return epoch.network, epoch.number

    def findings(self, table):
        whole, zero, mean = (
            {row["random labels"]: row for row in table if (row["clamped to"], row["clamped"]) == (value, share)}
            for value, share in (("zero", 0.0), ("zero", 1.0), ("mean", 1.0))
        )
        return [
            Finding(
                "every net is right on all its samples before",
                "100 %",
                ", ".join(f"{row['accuracy']:.1%}" for row in whole.values()),
                all(row["accuracy"] == 1 for row in whole.values()),
            ),
            *(
                Finding(
                    f"the more random labels, the smaller the area, clamped to {name}",
                    " > ".join(f"{_EXPECTED[share]:.0%}" for share in rows) + " (the order is what counts)",
                    _told(rows),
                    all(a["area"] > b["area"] for a, b in pairwise(rows.values())),
                )
                for name, rows in (("zero", zero), ("the mean", mean))
            ),
            Finding(
                "means harm more than zeros",
                "a smaller area for every share of random labels",
                f"zero {_told(zero)}; mean {_told(mean)}",
                all(mean[share]["area"] < zero[share]["area"] for share in zero),
            ),
        ]

    def draw(self, table, figure):
        from matplotlib import colormaps

        axes = figure.subplots(1, 2, sharey=True)
        for ax, value in zip(axes, ("zero", "mean"), strict=True):
            for share in dict.fromkeys(row["random labels"] for row in table):
                rows = [row for row in table if (row["random labels"], row["clamped to"]) == (share, value)]
                label = f"{share:.0%} random labels, area {rows[0]['area']:.0%}"
                clamped, curve = ([100 * row[name] for row in rows] for name in ("clamped", "accuracy"))
                colour, spread = colormaps["viridis"](0.9 * share), deviations(rows, "accuracy", 100)
                ax.errorbar(clamped, curve, spread, label=label, color=colour, capsize=2)
            ax.set(title=f"clamped to {value}", xlabel="clamped hidden units (%)")
            ax.grid(alpha=0.3)
            ax.legend(frameon=False, fontsize=8)
        axes[0].set_ylabel("accuracy on the training samples (%)")


def partly_random(digits, share, samples, rng):
    """Some of the digits, each shifted once, a share of them with a random label."""
    # All is drawn in any case, so that a seed has the same samples and the same random labels for every share.
    data = digits.mapped(lambda inputs: RandomShift(2)(inputs, rng)).take(rng.permutation(len(digits))[:samples])
    order, drawn = rng.permutation(samples), rng.integers(0, 10, samples)
    chosen = order[: round(share * samples)]
    labels = data.labels.copy()
    labels[chosen] = drawn[chosen]
    return Dataset(data.inputs, labels)


def clamped(network, data, value, rng):
    """Accuracy with no, a tenth, two tenths ... and all hidden units clamped, in one random order, (11,)."""
    seen = network.probe(data.inputs, _LAYERS)
    values = {
        (layer, unit): 0.0 if value == "zero" else mean
        for layer in _LAYERS
        for unit, mean in enumerate(seen[layer].mean(axis=0))
    }
    order = rng.permutation(len(values))
    units, workspace, curve = list(values), Workspace(network), []
    for step in range(_STEPS + 1):
        chosen = [units[k] for k in order[: round(len(units) * step / _STEPS)]]
        trace = workspace.run(network, data.inputs, clamp={unit: values[unit] for unit in chosen})
        curve.append(accuracy(trace[network.output_name], data.labels))
    return curve


def _told(rows):
    return ", ".join(f"{share:.0%} random {with_deviation(row, 'area')}" for share, row in rows.items())


@hookimpl
def register_experiments(register):
    register("clamping", Clamping, examples=[Clamping(width=8, orders=1, epochs=2)])
