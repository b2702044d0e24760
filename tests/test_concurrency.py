"""Several threads train and predict at once, in a process of its own: a crash there is a failing test here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from simulator import Catalog

TRAIN = """
import faulthandler
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from simulator import Catalog, Dataset, train

faulthandler.enable()
catalog, rng = Catalog(), np.random.default_rng(0)
data = Dataset(rng.standard_normal((64, 1, 8, 8)), rng.integers(0, 10, 64))
shared = catalog.build("resnet8", (1, 8, 8), width=4, rng=0, engine=catalog.engine(sys.argv[1], threads=2))


def work(seed):
    own = catalog.build("lenet5", (1, 12, 12), rng=seed, engine=catalog.engine(sys.argv[1], threads=2))
    larger = Dataset(np.pad(data.inputs, ((0, 0), (0, 0), (2, 2), (2, 2))), data.targets)
    found = []
    for network, samples in ((own, larger), (shared, data)):
        *_, last = train(network, samples, epochs=1, batch_size=32, validation=samples, rng=seed)
        found += [*last.network.params.values(), last.network.predict(samples.inputs)]
    return found


alone = [work(seed) for seed in range(4)]
with ThreadPoolExecutor(4) as pool:
    for _ in range(3):
        for expected, found in zip(alone, pool.map(work, range(4)), strict=True):
            for a, b in zip(expected, found, strict=True):
                np.testing.assert_array_equal(a, b)
print("equal")
"""

ESTIMATORS = """
import joblib
import numpy as np

from simulator import SimulatorClassifier

X = np.random.default_rng(0).standard_normal((60, 64))
y = np.arange(60) % 3


def work(seed):
    return SimulatorClassifier("mlp", epochs=3, random_state=seed).fit(X, y).predict_proba(X)


alone = [work(seed) for seed in range(4)]
with joblib.parallel_backend("threading", n_jobs=4):
    for _ in range(5):
        for expected, found in zip(alone, joblib.Parallel()(joblib.delayed(work)(s) for s in range(4)), strict=True):
            np.testing.assert_array_equal(expected, found)
print("equal")
"""


def run(script, *arguments):
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "equal\n"


@pytest.mark.parametrize("engine", [*Catalog().engines, "auto"])
def test_threads_that_train_give_what_one_alone_gives(engine, engine_called):
    engine_called(engine)
    run(TRAIN, engine)


def test_threads_of_joblib():
    pytest.importorskip("sklearn", reason="the estimator needs scikit-learn")
    run(ESTIMATORS)
