"""How many samples a matrix needs whose weights are shared, local or free: a signal that appears in any patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulator import (
    CosineDecay,
    Dataset,
    Experiment,
    Finding,
    FunctionLayer,
    Network,
    deviations,
    hookimpl,
    train,
    with_deviation,
)

PATCHES, SIZE, SIGMA = 10, 20, 0.25
_GOAL = 0.95
# Free weights of the first matrix, and samples for 95 % that a prototype needed; the full one had 87 % with 2560.
_EXPECTED = {"shared": (20, 160), "local": (200, 2560), "full": (2000, None)}
_TESTED = 10_000  # fresh samples


@dataclass(frozen=True)
class SoftThreshold(FunctionLayer):
    """ReLU(x − b) − ReLU(−x − b) with one trained threshold b for all units: what is small becomes zero.

    As a matrix: for one sample the diagonal of the units beyond the threshold, and ∓b as an offset.

    Notes
    -----
    b begins at 0, where this is the identity. Below 0 small inputs are doubled.

    References
    ----------
    S. Karp et al., "Local signal adaptivity: provable feature learning in neural networks beyond kernels", 2021.
    """

    def output_shape(self, *input_shapes):
        return input_shapes[0]

    def param_shapes(self, *input_shapes):
        return {"threshold": (1,)}

    def init_params(self, rng, *input_shapes, dtype):
        return {"threshold": np.zeros(1, dtype)}

    def forward(self, params, buffers, *xs, training=False, rng=None):
        (x,), b = xs, params["threshold"]
        above, below = (x > b).astype(x.dtype), (x < -b).astype(x.dtype)

        def pullback(dy):
            return (dy * (above + below),), {"threshold": np.sum(dy * (below - above)).reshape(1)}

        return above * (x - b) + below * (x + b), pullback, {}


@dataclass(frozen=True)
class SampleComplexity(Experiment):
    """How many samples shared, local and free weights need: the fewer are free, the fewer samples.

    The dynamic signal distribution: a sample has k = 10 patches of d = 20 numbers, all noise of standard deviation
    0.25; to one patch, chosen at random, ±w* is added, and the sign is the label. w* is a unit vector, drawn from the
    seed. Whoever knows it finds 98 of 100 signs.

    One model in three forms, Σᵢ φ(wᵢ·x) with one hidden unit for each patch. Its first matrix is 10 x 200: "shared" is
    a convolution of stride 20 (one w of 20 numbers), "local" the same without sharing (ten of them), "full" has all
    2000. φ is a soft threshold whose one threshold is trained, so that a unit can keep still where it only hears noise;
    the paper's own activation may differ in detail. The ten units are added up with fixed ones, and the sum is the
    logit.

    All forms have one budget, at every number of samples: 1000 steps of Adam on batches of up to 64, its rate from 0.01
    to 0 along a cosine, He's first values, logistic loss. Accuracy is that on 10,000 fresh samples.

    Published are bounds for such models, not this table: shared weights need of the order of k + d samples, local ones
    at least k·d and at most k·(k + d), orthogonally equivariant training of full ones at least k²·d, up to σ² and
    logarithms. The numbers of samples that are expected here were measured once with a prototype.

    Parameters
    ----------
    steps : int, default 1000
        Of gradient descent.

    References
    ----------
    A. Lahoti, S. Karp, E. Winston, A. Singh, Y. Li, "Role of locality and weight sharing in image-based tasks: a sample
    complexity separation between CNNs, LCNs, and FCNs", 2024; Z. Li, Y. Zhang, S. Arora, "Why are convolutional nets
    more sample-efficient than fully-connected nets?", 2021.

    Examples
    --------
    >>> from simulator import Catalog
    >>> SampleComplexity(steps=20).run({"weights": "shared", "samples": 20}, 0, Catalog())[0]["free weights"]
    20
    """

    steps: int = 1000
    seeds: ClassVar[int] = 5

    def conditions(self, quick=False):
        numbers = [20 * 2**power for power in range(1 if quick else 0, 8, 2 if quick else 1)]
        return [{"weights": weights, "samples": samples} for weights in _EXPECTED for samples in numbers]

    def run(self, condition, seed, catalog):
        rng = np.random.default_rng(seed)
        signal = rng.standard_normal(SIZE)
        signal /= np.linalg.norm(signal)
        training, fresh = (drawn(signal, samples, rng) for samples in (condition["samples"], _TESTED))
        network = adder(catalog, condition["weights"], rng)
        batch = min(64, len(training))
        each = -(-len(training) // batch)  # steps of an epoch
        epochs = -(-self.steps // each)
        *_, last = train(
            network,
            training,
            epochs=epochs,
            batch_size=batch,
            optimizer=catalog.create("optimizers", "adam", lr=CosineDecay(0.01, epochs * each)),
            losses=catalog.create("losses", "binary-cross-entropy"),
            metrics={},
            trainable=["hidden.*", "threshold.*"],
            rng=rng,
        )
        return [
            {
                "free weights": network.params["hidden.weight"].size,
                "training accuracy": _accuracy(last.network, training),
                "accuracy": _accuracy(last.network, fresh),
            }
        ]

    def findings(self, table):
        rows = {weights: [row for row in table if row["weights"] == weights] for weights in _EXPECTED}
        needed = {weights: _needed(each) for weights, each in rows.items()}
        free = [each[0]["free weights"] for each in rows.values()]
        findings = [
            Finding(
                "free weights of the first matrix: shared, local, full",
                ", ".join(str(number) for number, _ in _EXPECTED.values()),
                ", ".join(map(str, free)),
                free == [number for number, _ in _EXPECTED.values()],
            ),
        ]
        for weights, (_, expected) in _EXPECTED.items():
            *_, most = rows[weights]
            told = f"{with_deviation(most, 'accuracy')} with {most['samples']}"
            if expected is None:
                claim, wanted = f"{weights} weights do not get there", "no 95 %, 87 % with 2560 samples"
                holds = needed[weights] is None
            else:
                claim, wanted = f"{weights} weights: samples for 95 %", f"{expected}, up to a factor of two"
                holds = needed[weights] is not None and expected / 2 <= needed[weights] <= 2 * expected
            findings.append(Finding(claim, wanted, f"{needed[weights] or 'not reached'}; {told}", holds))
        return findings

    def draw(self, table, figure):
        ax = figure.subplots()
        for weights, (free, expected) in _EXPECTED.items():
            rows = [row for row in table if row["weights"] == weights]
            line, *_ = ax.errorbar(
                [row["samples"] for row in rows],
                [100 * row["accuracy"] for row in rows],
                deviations(rows, "accuracy", 100),
                fmt="o-",
                capsize=3,
                label=f"{weights}, {free} free weights",
            )
            at = (2560, 87) if expected is None else (expected, 100 * _GOAL)
            ax.plot(*at, "D", ms=11, mfc="none", mec=line.get_color())
        ax.plot([], [], "D", ms=9, mfc="none", mec="k", label="expected")
        ax.axhline(100 * _GOAL, color="0.6", lw=1, ls=":")
        ax.set_xscale("log", base=2)
        ticks = sorted({row["samples"] for row in table})
        ax.set_xticks(ticks, map(str, ticks))
        ax.set_xlabel("training samples")
        ax.set_ylabel("accuracy on fresh samples (%)")
        ax.legend(loc="lower right", frameon=False)


def drawn(signal, samples, rng):
    """Samples (n, 1, 200) of the dynamic signal distribution, and 1 or 0 (n, 1) for the sign of the signal."""
    patches = SIGMA * rng.standard_normal((samples, PATCHES, SIZE))
    positive = rng.integers(0, 2, (samples, 1))
    patches[np.arange(samples), rng.integers(0, PATCHES, samples)] += (2 * positive - 1) * signal
    return Dataset(patches.reshape(samples, 1, -1).astype(np.float32), positive.astype(np.float32))


def adder(catalog, weights, rng):
    """Σᵢ φ(wᵢ·x) with "shared", "local" or "full" weights."""
    patchwise = {"kernel": SIZE, "stride": SIZE, "bias": False}
    hidden = {
        "shared": lambda: catalog.make("conv", 1, **patchwise),
        "local": lambda: catalog.make("locally-connected", 1, **patchwise),
        "full": lambda: catalog.make("dense", PATCHES, bias=False),
    }[weights]()
    layers = [
        ("hidden", hidden),
        ("threshold", SoftThreshold()),
        ("sum", catalog.make("dense", 1, bias=False, init="zeros")),
    ]
    engine = catalog.engine("auto", threads=1, ready=True)
    network = Network.input((1, PATCHES * SIZE), engine=engine).chain(layers, rng=rng)
    return network.with_params({"sum.weight": np.ones((1, PATCHES))})


def _accuracy(network, data):
    return float(np.mean((network.predict(data.inputs) > 0) == (data.targets > 0)))


def _needed(rows):
    """Samples at which the mean accuracy gets above 95 % for good, interpolated on the logarithmic axis, or None."""
    short = [number for number, row in enumerate(rows) if row["accuracy"] < _GOAL]
    if not short:
        return rows[0]["samples"]
    if rows[-1]["accuracy"] < _GOAL:
        return None
    below, above = rows[short[-1] : short[-1] + 2]
    share = (_GOAL - below["accuracy"]) / (above["accuracy"] - below["accuracy"])
    return round(below["samples"] * (above["samples"] / below["samples"]) ** share)


@hookimpl
def register_experiments(register):
    register("sample-complexity", SampleComplexity, examples=[SampleComplexity(steps=2)])
