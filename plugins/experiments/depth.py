"""Plain and residual nets of growing depth, without normalisation: their loss, and the gradient of each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulator import (
    CosineDecay,
    CrossEntropy,
    Dataset,
    Experiment,
    Finding,
    ShapeError,
    deviations,
    evaluate,
    hookimpl,
    train,
    with_deviation,
)
from simulator.errors import brief

_KINDS = {
    "plain": ("plain{}", {}),
    # Behind branches of zeros the zero channels of option A would stay zero for ever.
    "residual": ("resnet{}-cifar", {"branch_init": "zeros", "option": "B"}),
}


@dataclass(frozen=True)
class Depth(Experiment):
    """Plain and residual nets of growing depth: without skips the deeper net trains worse, with them it does not.

    The nets are those that the paper has for CIFAR-10, plain and residual, with half as many maps (8, 16, 32), on 100
    of scikit-learn's digits (8 x 8). Their last maps are 2 x 2, where most of a 3 x 3 window is padding and signals
    shrink, so pixels are centred and multiplied by 10. All have one budget: momentum 0.9, batches of 20, a rate from
    0.01 to 0 along a cosine. The seed draws the first weights and the batches.

    For every convolution of the main path, first to last, the table has the norm of the loss's gradient for its weight
    over all samples, before and after training; the loss is that after training, on the samples trained on. As a matrix
    a plain block is W, a residual one I + W: the way back multiplies by their transposes.

    Each residual branch starts at zero: its last convolution is initialised to 0, and so the first convolution of a
    branch has no gradient at the start. He's first values overflow at 56 layers.

    What differs from the paper: its nets, plain ones too, have batch normalisation, which keeps gradients alive, so
    that it does not blame vanishing gradients for what it finds, but slow convergence. Here there is none, and the
    gradients of a deep plain net vanish: at the start those of all its layers alike, for its signals shrink on the way
    forward, too; after training the last few layers have more, the early ones do not. The paper trains on 45,000
    pictures and looks at the error on others; here it is the loss of training, which is what its argument is about.

    Parameters
    ----------
    epochs : int, default 30
        Passes over the samples.
    depths : tuple of int, default (20, 32, 44, 56)
        Of 20, 32, 44, 56 and 110; the first and the last of them are compared.

    Raises
    ------
    ShapeError
        If the depths are no tuple.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", 2015, section 4.2 and figure 6.

    Examples
    --------
    >>> from simulator import Catalog
    >>> rows = Depth(epochs=1).run({"kind": "plain", "depth": 20}, 0, Catalog())
    >>> len(rows)
    19
    """

    epochs: int = 30
    depths: tuple[int, ...] = (20, 32, 44, 56)
    seeds: ClassVar[int] = 3
    by: ClassVar[tuple[str, ...]] = ("layer",)

    def __post_init__(self):
        if not self.depths:
            raise ShapeError(f"depth depths: expected numbers of layers, got {brief(self.depths)}; try (20, 56)")

    def conditions(self, quick=False):
        depths = dict.fromkeys((self.depths[0], self.depths[-1])) if quick else self.depths
        return [{"kind": kind, "depth": depth} for kind in _KINDS for depth in depths]

    def run(self, condition, seed, catalog):
        digits = catalog.load_data("digits").take(np.arange(100))
        data = Dataset(10 * (digits.inputs - digits.inputs.mean(axis=0)), digits.targets, classes=digits.classes)
        name, options = _KINDS[condition["kind"]]
        network = catalog.build(
            name.format(condition["depth"]),
            (1, 8, 8),
            rng=seed,
            width=0.5,
            norm=False,
            engine=catalog.engine("auto", threads=1, ready=True),
            **options,
        )
        optimizer = catalog.create("optimizers", "momentum", lr=CosineDecay(0.01, 5 * self.epochs))
        *_, last = train(network, data, epochs=self.epochs, batch_size=20, optimizer=optimizer, rng=seed)
        loss = evaluate(last.network, data)["loss"]
        norms = zip(gradient_norms(network, data), gradient_norms(last.network, data), strict=True)
        return [
            {"layer": layer, "loss": loss, "gradient at the start": start, "gradient after training": end}
            for layer, (start, end) in enumerate(norms, 1)
        ]

    def findings(self, table):
        firsts = [row for row in table if row["layer"] == 1]
        findings = []
        for kind in _KINDS:
            plain = kind == "plain"
            rows = [row for row in firsts if row["kind"] == kind]
            shallow, deep = rows[0], rows[-1]
            if deep["seeds"] > 1:  # one seed tells nothing of the spread
                spread = (shallow["loss std"] ** 2 + deep["loss std"] ** 2) ** 0.5
                findings.append(
                    Finding(
                        f"{kind}: the deeper net {'trains' if plain else 'does not train'} worse",
                        f"loss of {deep['depth']} layers {'>' if plain else '≤'} that of {shallow['depth']} and the "
                        "spread over seeds",
                        ", ".join(f"{row['depth']} layers {with_deviation(row, 'loss', '.3f')}" for row in rows),
                        (deep["loss"] > shallow["loss"] + spread) == plain,
                    )
                )
            ratio = deep["gradient at the start"] / shallow["gradient at the start"]
            findings.append(
                Finding(
                    f"{kind}: the first layer's gradient at the start {'vanishes' if plain else 'stays'} with depth",
                    f"{'below a tenth' if plain else 'at least half'} of that with {shallow['depth']} layers",
                    ", ".join(f"{row['depth']} layers {row['gradient at the start']:.2g}" for row in rows),
                    ratio < 0.1 if plain else ratio >= 0.5,
                )
            )
        return findings

    def draw(self, table, figure):
        figure.set_size_inches(13, 4.5)
        losses, start, end = figure.subplots(1, 3)
        depths = list(dict.fromkeys(row["depth"] for row in table))
        for kind, colour in (("plain", "tab:orange"), ("residual", "tab:blue")):
            rows = [row for row in table if row["kind"] == kind and row["layer"] == 1]
            losses.errorbar(
                [row["depth"] for row in rows],
                [row["loss"] for row in rows],
                deviations(rows, "loss"),
                fmt="o-",
                capsize=3,
                color=colour,
                label=kind,
            )
            for depth, strength in zip(depths, np.linspace(0.35, 1, len(depths)), strict=True):
                of = [row for row in table if row["kind"] == kind and row["depth"] == depth]
                for ax, name in ((start, "gradient at the start"), (end, "gradient after training")):
                    # No gradient at all has no place on a logarithmic axis.
                    some = [row for row in of if row[name] > 0]
                    places = [(row["layer"] - 1) / (len(of) - 1) for row in some]
                    norms = [row[name] for row in some]
                    ax.plot(places, norms, ".-", color=colour, alpha=strength, lw=1, label=f"{kind}, {depth}")
        losses.axhline(np.log(10), color="0.6", lw=1, ls=":", label="guessing")
        losses.set(xlabel="layers", ylabel="loss of the training samples", xticks=depths, title="loss after training")
        losses.legend(frameon=False)
        for ax, title in ((start, "gradient at the start"), (end, "gradient after training")):
            ax.set(xlabel="first (0) to last (1) convolution", yscale="log", title=title)
        start.set_ylabel("norm of the weight's gradient")
        end.sharey(start)
        figure.legend(*start.get_legend_handles_labels(), loc="outside right center", frameon=False)


def gradient_norms(network, data):
    """Norm of the loss's gradient for the weight of each convolution of the main path, first to last."""
    trace = network.run(data.inputs)
    gradients = trace.backward(CrossEntropy().grad(trace[network.output_name], data.targets), params_only=True).params
    weights = [name for name, shape in network.param_shapes.items() if len(shape) == 4 and "skip" not in name]
    return [float(np.linalg.norm(gradients[name])) for name in weights]


@hookimpl
def register_experiments(register):
    register("depth", Depth, examples=[Depth(epochs=1, depths=(20,))])
