"""Skip connections: why a deep net without them does not learn, and with them does.

Learn: a block with a skip is I + W, and a product of many such matrices keeps its gradient; a product of many W alone
loses it on the way back. No normalisation here: it would hide the effect.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from simulator import Catalog, CosineDecay, CrossEntropy, Dataset, evaluate, train

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
EPOCHS = 8  # with more of them the plain net of 56 layers begins to learn, too

catalog = Catalog()
digits = catalog.load_data("digits").take(np.arange(100))
# On maps of 2 x 2 most of a 3 x 3 window is padding, so that signals shrink: start with large ones around zero.
data = Dataset(10 * (digits.inputs - digits.inputs.mean(axis=0)), digits.targets, classes=digits.classes)


def gradient_norms(network):
    """Norm of the loss's gradient for the weight of each convolution, first to last."""
    trace = network.run(data.inputs)
    grads = trace.backward(CrossEntropy().grad(trace[network.output_name], data.targets), params_only=True).params
    weights = [k for k, shape in network.param_shapes.items() if len(shape) == 4 and "skip" not in k]
    return [float(np.linalg.norm(grads[key])) for key in weights]


figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
print("Ten classes: the loss of a net that knows nothing is log(10) = 2.303.")
losses = {}
for name in ("plain20", "plain56", "resnet20-cifar", "resnet56-cifar"):
    # Each branch of a residual net starts at zero: every block begins as the identity.
    options = {"branch_init": "zeros", "option": "B"} if name.startswith("resnet") else {}
    network = catalog.build(name, (1, 8, 8), rng=0, width=0.25, norm=False, engine="auto", **options)
    norms = [gradient_norms(network)]
    optimizer = catalog.optimizers["adam"](CosineDecay(0.003, 5 * EPOCHS))
    *_, epoch = train(network, data, epochs=EPOCHS, batch_size=20, optimizer=optimizer, rng=0)
    losses[name] = evaluate(epoch.network, data)["loss"]
    norms.append(gradient_norms(epoch.network))
    print(f"{name:14} gradient of the first convolution {norms[0][0]:.1e}, loss after training {losses[name]:.3f}")
    for axis, values in zip(axes, norms, strict=True):
        axis.plot(np.linspace(0, 1, len(values)), np.where(np.array(values) > 0, values, np.nan), ".", label=name)

for axis, when in zip(axes, ("at the start", f"after {EPOCHS} epochs"), strict=True):
    axis.set(title=when, xlabel="first to last convolution", yscale="log")
axes[0].set_ylabel("norm of the weight's gradient")
axes[1].legend(loc="center left")
figure.savefig(folder / "gradients.png", dpi=100)
print("drew", folder / "gradients.png")
print("loss of 56 layers, plain minus residual:", f"{losses['plain56'] - losses['resnet56-cifar']:.3f}")
