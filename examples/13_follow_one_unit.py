"""Follow one unit back to the picture: each time its products and its bias add up to its value.

Learn: a unit is one row of a sparse matrix. What it reads, with which shared weight, is a short list; take the largest
product, look at that unit, and so on until the picture is reached.
"""

from simulator import Catalog, train
from simulator.lab import incoming, outgoing, paths

catalog = Catalog()
data = catalog.load_data("digits", (1, 28, 28))
network = catalog.build("lenet5", data.shape, rng=0, engine="auto")
*_, epoch = train(network, data, epochs=1, optimizer=catalog.optimizers["adam"](0.002), rng=0)
network = epoch.network.with_dtype("float64")

x, label = data.inputs[0], int(data.targets[0])
trace = network.run(x[None])  # one run serves all units
scores = trace[network.output_name][0]
print(f"a picture of a {label}; the net says {scores.argmax()}")

unit, worst = f"{network.output_name}[{scores.argmax()}]", 0.0
while True:
    found = incoming(network, unit, trace)
    print(repr(found))
    for c in found.largest(3) if found.bias else ():
        print(f"    {c.source_name} = {c.input:.4g} times {c.weight_name} = {c.value:.4g} is {c.product:.4g}")
    worst = max(worst, abs(found.total - found.value))
    unit = found.largest(1)[0].source
    if not network.nodes[unit.node].inputs:
        break

print(f"{unit} is read in turn by {len(outgoing(network, unit).connections)} units of the first layer")
ways = paths(network, f"{network.output_name}[{scores.argmax()}]")
print(f"and it reaches the winning output over {ways[unit.index]:,} paths, of {ways.sum():,} from the whole picture")
print(f"largest difference between a unit and the sum of its products: {worst:.1e}")
