"""An optimizer of your own: two functions, one that makes the state and one that takes a step.

Learn: gradient descent knows nothing of convolutions. It sees the shared weights and one gradient for each, which is
the sum over all connections that share it.
"""

from dataclasses import dataclass

import numpy as np

from simulator import Catalog, evaluate, hookimpl, train
from simulator.schedules import learning_rate
from simulator.testing import check_optimizer


@dataclass(frozen=True)
class SignSGD:
    """Steps of one size: only the sign of each gradient counts (Bernstein et al., 2018)."""

    lr: object = 0.01

    def init(self, params):
        return {"step": 0}

    def step(self, params, grads, state):
        lr = learning_rate(self.lr, state["step"])
        new = {name: p - p.dtype.type(lr) * np.sign(grads[name]) for name, p in params.items()}
        return new, {"step": state["step"] + 1}


class Mine:
    """A plugin can be an object; as a file of its own it is `simulator -p mine.py train --optimizer sign-sgd`."""

    @hookimpl
    def register_optimizers(self, register):
        register("sign-sgd", SignSGD)


check_optimizer(SignSGD())
catalog = Catalog(Mine())
data, held_out = catalog.load_data("xo", (1, 12, 12)).split(0.2, rng=0)
for name, lr in (("sgd", 0.05), ("momentum", 0.05), ("sign-sgd", 0.003)):
    network = catalog.build("lenet5", data.shape, classes=2, rng=0, width=0.5, engine="auto")
    optimizer = catalog.create("optimizers", name, lr=lr)
    for epoch in train(network, data, epochs=4, batch_size=32, optimizer=optimizer, rng=0):
        last = epoch
    accuracy = evaluate(last.network, held_out)["accuracy"]
    print(f"{name:8} loss {last.loss:.3f}, held-out accuracy {accuracy:.4f}")
print("held-out accuracy of the optimizer of one's own:", f"{accuracy:.4f}")
