"""Five nets that differ only in which of their weights exist and which are shared, trained on a few digits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from simulator import (
    CosineDecay,
    Experiment,
    Finding,
    Network,
    RandomShift,
    deviations,
    evaluate,
    hookimpl,
    train,
    with_deviation,
)
from simulator.describe import describe

# Links and weights, as published, and the accuracy that a prototype reached with 800 samples.
_NETS = {
    "Net-1": (2570, 2570, 0.65),
    "Net-2": (3214, 3214, 0.70),
    "Net-3": (1226, 1226, 0.72),
    "Net-4": (2266, 1132, 0.73),
    "Net-5": (5194, 1060, 0.77),
}
_MOST = 800  # training samples; all others are held out, whatever a condition trains on


@dataclass(frozen=True)
class FiveConstraints(Experiment):
    """Five nets for digits that differ only in their constraint matrix: where data are few, constraints help.

    From 16 x 16 pixels to ten digits, each net with more structure than the one before:

    - Net-1 256 → 10, and Net-2 256 → 12 → 10, fully connected;
    - Net-3 → 8 x 8 (3 x 3, stride 2) → 4 x 4 (5 x 5, stride 2) → 10, locally connected, nothing shared;
    - Net-4 → two maps of 8 x 8 with shared weights → 4 x 4, locally connected → 10;
    - Net-5 → two shared maps of 8 x 8 → four shared maps of 4 x 4 → 10.

    Every unit has a bias of its own, windows that reach over the border read the background -1, hidden units are
    scaled tanhs. As a matrix: a zero that is not trained, or a weight in several cells; all else is equal.

    Data: the digits that come with scikit-learn, 8 x 8, upsampled to 16 x 16, each shifted once by up to 2 pixels along
    both axes, grey from -1 to 1. Unshifted they are too easy: about 95 % for every net, in no order; a control shows
    it. Another control permutes the pixels, all images of a run in the same way, which leaves no neighbours to be local
    about. Training samples, shifts, permutation and first weights are drawn from the seed, the same data for every net;
    accuracy is that on the 997 digits that are never trained on.

    All nets have one budget: 60 epochs in batches of 40, momentum 0.9, a rate from 0.1 to 0 along a cosine, on the
    cross-entropy of ten logits. Of the rates 0.02, 0.05, 0.1 and 0.2 it is the one that leaves the least training loss
    in all five nets together; Net-1, which is linear, still does not fit all its samples. Published are 480 other
    digits (16 x 16, 320 of them to train on), squared error on ten scaled tanhs, a pseudo-Newton step, and 80.0, 87.0,
    88.5, 94.0 and 98.4 %; here the order is what is compared. The expected accuracies are those that a prototype
    reached on these data. Net-3 and Net-4 are so close that their order depends on the rate.

    Parameters
    ----------
    epochs : int, default 60
        Passes over the training samples.

    References
    ----------
    Y. LeCun, "Generalization and network design strategies", 1989; T. Hastie, R. Tibshirani, J. Friedman, "The
    elements of statistical learning", 2009, section 11.7 and table 11.1.

    Examples
    --------
    >>> from simulator import Catalog
    >>> describe(constrained(Catalog(), "Net-5")).totals.links
    5194
    """

    epochs: int = 60
    seeds: ClassVar[int] = 10

    def conditions(self, quick=False):
        data = [("shifted", _MOST), ("permuted", _MOST)]
        if not quick:
            data = [("shifted", 320), *data, ("unshifted", _MOST)]
        return [{"pixels": pixels, "samples": samples, "net": net} for pixels, samples in data for net in _NETS]

    def run(self, condition, seed, catalog):
        rng = np.random.default_rng(seed)
        data = prepared(catalog.load_data("digits", (1, 16, 16)), condition["pixels"], rng)
        order = rng.permutation(len(data))
        training, held_out = data.take(order[: condition["samples"]]), data.take(order[_MOST:])
        network = constrained(catalog, condition["net"], rng)
        totals = describe(network).totals
        steps = self.epochs * -(-len(training) // 40)
        optimizer = catalog.create("optimizers", "momentum", lr=CosineDecay(0.1, steps))
        *_, last = train(network, training, epochs=self.epochs, batch_size=40, optimizer=optimizer, rng=rng)
        fitted = evaluate(last.network, training)
        return [
            {
                "links": totals.links,
                "weights": totals.params,
                "training loss": fitted["loss"],
                "training accuracy": fitted["accuracy"],
                "accuracy": evaluate(last.network, held_out)["accuracy"],
            }
        ]

    def findings(self, table):
        rows = {(row["pixels"], row["samples"], row["net"]): row for row in table}
        shifted, permuted, unshifted = (
            [rows[pixels, _MOST, net] for net in _NETS if (pixels, _MOST, net) in rows]
            for pixels in ("shifted", "permuted", "unshifted")
        )
        findings = [
            Finding(
                "links/weights of the five nets",
                ", ".join(f"{links}/{weights}" for links, weights, _ in _NETS.values()),
                ", ".join(f"{row['links']}/{row['weights']}" for row in shifted),
                all((row["links"], row["weights"]) == _NETS[row["net"]][:2] for row in table),
            ),
            Finding(
                f"the more constraints, the better: held-out accuracy with {_MOST} samples",
                ", ".join(f"{accuracy:.0%}" for *_, accuracy in _NETS.values()) + " (the order is what counts)",
                _told(shifted),
                all(a["accuracy"] < b["accuracy"] for a, b in pairwise(shifted)),
            ),
            Finding(
                "the ends of that order: Net-1 is the worst, Net-5 the best",
                "Net-1 < all others < Net-5",
                _told([shifted[0], shifted[-1]]),
                all(shifted[0]["accuracy"] < row["accuracy"] < shifted[-1]["accuracy"] for row in shifted[1:-1]),
            ),
        ]
        local, shared = permuted[2], permuted[4]
        pairs = list(zip(shifted[:2], permuted[:2], strict=True))
        if shifted[0]["seeds"] > 1:  # one seed tells nothing of errors
            findings.append(
                Finding(
                    "a permutation of the pixels does not change Net-1 and Net-2",
                    "equal within two standard errors",
                    ", ".join(f"{a['net']} {a['accuracy']:.1%} and {b['accuracy']:.1%}" for a, b in pairs),
                    all(abs(a["accuracy"] - b["accuracy"]) <= 2 * _error(a, b) for a, b in pairs),
                )
            )
        findings.append(
            Finding(
                "with permuted pixels sharing harms: Net-3 is above Net-5",
                "Net-3 > Net-5",
                _told([local, shared]),
                local["accuracy"] > shared["accuracy"],
            )
        )
        if unshifted:
            least = min(row["accuracy"] for row in unshifted)
            findings.append(
                Finding(
                    "unshifted digits are too easy: every net is good, and the order does not appear",
                    "about 95 % for every net",
                    _told(unshifted),
                    least > 0.9 and any(a["accuracy"] >= b["accuracy"] for a, b in pairwise(unshifted)),
                )
            )
        return findings

    def draw(self, table, figure):
        ax = figure.subplots()
        for (pixels, samples), style in _STYLES.items():
            rows = [row for row in table if (row["pixels"], row["samples"]) == (pixels, samples)]
            if rows:
                heights = [100 * row["accuracy"] for row in rows]
                errors = deviations(rows, "accuracy", 100)
                label = f"{pixels}, {samples} samples"
                ax.errorbar([row["net"] for row in rows], heights, errors, capsize=3, label=label, **style)
        ax.plot(
            list(_NETS),
            [100 * row[2] for row in _NETS.values()],
            "D",
            ms=9,
            mfc="none",
            mec="k",
            label="expected: shifted, 800",
        )
        ax.set_xticks(
            range(len(_NETS)),
            [f"{net}\n{links} links\n{weights} weights" for net, (links, weights, _) in _NETS.items()],
        )
        ax.set_ylabel("held-out accuracy (%)")
        ax.grid(axis="y", alpha=0.3)
        figure.legend(loc="outside upper center", ncols=3, frameon=False)


_STYLES = {
    ("unshifted", _MOST): {"color": "0.6", "fmt": "o:"},
    ("shifted", _MOST): {"color": "tab:blue", "fmt": "o-"},
    ("permuted", _MOST): {"color": "tab:orange", "fmt": "s--"},
    ("shifted", 320): {"color": "tab:cyan", "fmt": "o-"},
}


def prepared(digits, pixels, rng):
    """The digits with grey from -1 to 1, "unshifted", "shifted", or shifted and "permuted"."""
    # All are drawn in any case, so that a seed has the same shifts and later the same samples in every condition.
    shifted = digits.mapped(lambda inputs: RandomShift(2)(inputs, rng))
    order = rng.permutation(int(np.prod(digits.shape)))
    data = digits if pixels == "unshifted" else shifted
    if pixels == "permuted":
        data = data.mapped(lambda inputs: inputs.reshape(len(inputs), -1)[:, order].reshape(inputs.shape))
    return data.mapped(lambda inputs: 2 * inputs - 1)


def constrained(catalog, net, rng=None):
    """One of the five nets, by name; without `rng` it has no weights."""
    make = catalog.make

    def small(kind, maps, kernel):
        return make(kind, maps, kernel=kernel, stride=2, padding="same", pad_value=-1.0, bias="unit", init="lecun")

    hidden = {
        "Net-1": [],
        "Net-2": [make("dense", 12, init="lecun")],
        "Net-3": [small("locally-connected", 1, 3), small("locally-connected", 1, 5)],
        "Net-4": [small("conv", 2, 3), small("locally-connected", 1, 5)],
        "Net-5": [small("conv", 2, 3), small("conv", 4, 5)],
    }[net]
    layers = [each for layer in hidden for each in (layer, make("scaled-tanh"))]
    layers.append(make("dense", 10, init="lecun"))
    return Network.sequential((1, 16, 16), layers, rng=rng, engine=catalog.engine("auto", threads=1, ready=True))


def _told(rows):
    return ", ".join(f"{row['net']} {with_deviation(row, 'accuracy')}" for row in rows)


def _error(a, b):
    """Standard error of the difference of two means."""
    return (a["accuracy std"] ** 2 / a["seeds"] + b["accuracy std"] ** 2 / b["seeds"]) ** 0.5


@hookimpl
def register_experiments(register):
    register("five-constraints", FiveConstraints, examples=[FiveConstraints(epochs=1)])
