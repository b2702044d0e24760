"""Untie and densify: the same function with more and more weights, and where training takes them from there.

Learn: a convolution is one point of a much larger space. Untied, each connection goes its own way; made dense, zeros
may become weights, too. How far they go can be measured, and retying takes them back. All three know nearly all
training samples by heart and are about as good on others (another seed moves each by up to three points); but the dense
one has left the convolutions: retied, it loses much of that.
"""

import numpy as np

from simulator import SGD, Catalog, Conv, Dense, Network, RandomShift, ReLU, evaluate, train
from simulator.lab import densify, off_pattern, retie, tie_variance, untie

catalog = Catalog()
digits = catalog.load_data("digits", (1, 16, 16)).mapped(lambda x: RandomShift(2)(x, np.random.default_rng(0)))
data, held_out = digits.take(np.arange(600)), digits.take(np.arange(600, 1797))


def trained(network, epochs):
    *_, epoch = train(network, data, epochs=epochs, batch_size=50, optimizer=SGD(0.3), rng=0)
    return epoch.network


layers = [Conv(8, 5, stride=2, padding=2), ReLU(), Conv(16, 3, stride=2, padding=1), ReLU(), Dense(10)]
convolutional = trained(Network.sequential((1, 16, 16), layers, rng=0, engine=catalog.engine("auto")), epochs=20)
print("           weights  differs  training  held out  off pattern  within ties  retied")
shares = {}
for name, loosen in (("tied", lambda network: network), ("untied", untie), ("dense", densify)):
    network = loosen(convolutional)
    weights = sum(array.size for array in network.params.values())
    before = np.abs(network.predict(held_out.inputs) - convolutional.predict(held_out.inputs)).max()
    network = trained(network, epochs=10)
    off, within = off_pattern(network, convolutional).total, tie_variance(network, convolutional).total
    fits, shares[name] = (evaluate(network, part)["accuracy"] for part in (data, held_out))
    again = evaluate(retie(network, convolutional), held_out)["accuracy"]
    row = f"{fits:9.2%} {shares[name]:9.2%} {off:12.6f} {within:12.6f} {again:7.2%}"
    print(f"{name:7} {weights:8,} {before:8.0e} {row}")
print(f"held out they differ by up to {max(shares.values()) - min(shares.values()):.1%}")

# The identity behind it: the untied step, projected back, is the tied step with each rate divided by its multiplicity.
tied = convolutional.with_dtype("float64").with_engine(catalog.engine("scipy"))
dy = np.random.default_rng(0).normal(size=(50, 10))


def stepped(network):
    gradients = network.run(data.inputs[:50]).backward(dy).params
    return network.with_params({name: array - 0.1 * gradients[name] for name, array in network.params.items()})


name = "conv2.weight"
before, tied_step, untied_step = (net.params[name] for net in (tied, stepped(tied), retie(stepped(untie(tied)), tied)))
multiplicity = np.bincount(tied.node("conv2").pattern.triplets()[2]).reshape(before.shape)
differs = np.abs(untied_step - before - (tied_step - before) / multiplicity).max()
print("untied step retied, minus tied step over multiplicity:", f"{differs:.1e}")
