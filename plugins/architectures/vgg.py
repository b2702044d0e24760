"""VGG: nothing but 3x3 convolutions and 2x2 poolings, eleven to nineteen layers deep, with or without batch norm."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl, narrowed

MAPS = (64, 128, 256, 512, 512)  # of each stage
# How many convolutions each stage has, and the published configuration.
STAGES = {
    11: ((1, 1, 2, 2, 2), "A"),
    13: ((2, 2, 2, 2, 2), "B"),
    16: ((2, 2, 3, 3, 3), "D"),
    19: ((2, 2, 4, 4, 4), "E"),
}

_DOC = """VGG-{depth}{summary}: 3x3 convolutions in five stages, three dense layers (configuration {letter}).

Parameters
----------
make : callable
    Asks the catalog for a layer.
input_shape : tuple of int, default (3, 224, 224)
    Channels, height, width; at least 32 x 32.
classes : int, default 1000
    Number of logits.
rng : numpy.random.Generator or None
    Draws the first weights.
width : float, default 1
    Factor on the number of feature maps and hidden units.
adaptive : bool, default False
    Average maps of any size to 7 x 7 before the dense layers, as torchvision does, so that inputs of any size take the
    weights of 224 x 224. Without it only larger maps are; smaller ones are read as they are, by small dense layers.

Notes
-----
Params: 132,863,336 (11 layers), 133,047,848 (13), 138,357,544 (16), 143,667,240 (19); batch normalisation adds two for
each feature map, and leaves the biases that it makes idle. The first dense layer alone has 102,764,544. At 224 x 224
there is nothing to average, and no layer for it. Configuration C, with 1x1 convolutions, is left out, as everywhere.

Without batch normalisation the deeper nets are slow to start: the paper gave them the first and last layers of a
trained configuration A; a narrow VGG-19 wants adam rather than momentum.

References
----------
K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015. Batch
normalisation, S. Ioffe and C. Szegedy, 2015, was added by others.
"""


def _vgg(depth, batch_norm=False):
    """The name of a variant, and the function that builds it."""
    name = f"vgg{depth}-bn" if batch_norm else f"vgg{depth}"
    convolutions, letter = STAGES[depth]

    def build(make, input_shape=(3, 224, 224), classes=1000, rng=None, width: float = 1.0, adaptive: bool = False):
        check_image(name, input_shape, least=32)
        scaled = narrowed(name, width)
        layers = []
        for stage, (maps, count) in enumerate(zip(MAPS, convolutions, strict=True), start=1):
            for number in range(1, count + 1):
                layers.append(
                    (f"conv{stage}_{number}", make("conv", scaled(maps), kernel=3, padding=1, init="centred"))
                )
                if batch_norm:
                    layers.append((f"norm{stage}_{number}", make("batch-norm")))
                layers.append((f"relu{stage}_{number}", make("relu")))
            layers.append((f"pool{stage}", make("max-pool", 2)))
        network = Network.input(input_shape).chain(layers, rng=rng)
        space = network.output_shape[1:]
        read = (7, 7) if adaptive else tuple(min(n, 7) for n in space)
        layers = [("average", make("adaptive-average-pool", read))] if read != space else []
        layers.append(("flatten", make("flatten")))
        for number in (6, 7):
            layers.append((f"dense{number}", make("dense", scaled(4096), init="centred")))
            layers.append((f"relu{number}", make("relu")))
            layers.append((f"dropout{number}", make("dropout", 0.5)))
        layers.append(("dense8", make("dense", classes)))
        return network.chain(layers, rng=rng)

    build.__name__ = build.__qualname__ = name.replace("-", "_")
    build.__doc__ = _DOC.format(depth=depth, summary=" with batch norm" * batch_norm, letter=letter)
    return name, build


@hookimpl
def register_architectures(register):
    for depth in STAGES:
        for batch_norm in (False, True):
            small = [{"input_shape": (1, 32, 32), "width": 1 / 16}]
            register(*_vgg(depth, batch_norm), lr=0.01, examples=small)
