"""GoogLeNet: nine Inception modules, each of four branches that are stacked, and two auxiliary classifiers."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl, narrowed

# Maps of each module: 1x1; reduction and 3x3; reduction and 5x5; projection after pooling (table 1 of the paper).
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(make, input_shape=(3, 224, 224), classes=1000, rng=None, width: float = 1.0, aux: bool = False):
    """GoogLeNet as published, with biases and local response normalisation: 22 layers deep.

    As a matrix a module is its four branches stacked: its rows are those of all of them, its columns the same input.

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
    aux : bool, default False
        Whether the network has the two auxiliary classifiers, further outputs that send gradients into the middle of it
        while it is trained; ``network.subnetwork("classifier")`` cuts them off again.

    Returns
    -------
    Network

    Raises
    ------
    ShapeError
        If the input is no image or too small, or the width is not positive.

    Notes
    -----
    Sizes are rounded up in pooling, as in Caffe (BVLC); a window larger than the maps is cut to them. The heads
    average 5 x 5 sites as long as the maps are that large, and all sites of smaller ones.

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", 2015; Caffe's bvlc_googlenet.
    """

    def conv(name, maps, kernel=1, stride=1):
        layer = make("conv", maps, kernel=kernel, stride=stride, padding=kernel // 2, init="centred")
        return [(name, layer), (f"{name}-relu", make("relu"))]

    def norm(number):
        return [(f"norm{number}", make("local-response-norm", size=5, alpha=1e-4, beta=0.75, k=1.0))]

    return _build(
        "googlenet", make, input_shape, classes, rng, width, aux, conv, norm, "5x5", 3, 0.4, _published_head_pool
    )


def googlenet_torchvision(
    make, input_shape=(3, 224, 224), classes=1000, rng=None, width: float = 1.0, aux: bool = False
):
    """GoogLeNet as in torchvision: batch normalisation, and 3x3 convolutions in the 5x5 branch.

    As a matrix a module is its four branches stacked: its rows are those of all of them, its columns the same input.

    Parameters
    ----------
    make, input_shape, classes, rng, width, aux
        As for "googlenet".

    Returns
    -------
    Network

    Raises
    ------
    ShapeError
        If the input is no image or too small, or the width is not positive.

    Notes
    -----
    The heads average maps of any size to 4 x 4 sites.

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", 2015; torchvision.models.googlenet.
    """

    def conv(name, maps, kernel=1, stride=1):
        layer = make("conv", maps, kernel=kernel, stride=stride, padding=kernel // 2, bias=False)
        return [(name, layer), (f"{name}-norm", make("batch-norm", epsilon=1e-3)), (f"{name}-relu", make("relu"))]

    def norm(number):
        return []

    def head_pool(make, space):
        return make("adaptive-average-pool", 4)

    return _build(
        "googlenet-torchvision", make, input_shape, classes, rng, width, aux, conv, norm, "3x3b", 2, 0.2, head_pool
    )


def _published_head_pool(make, space):
    return make("average-pool", 5, stride=3) if min(space) >= 5 else make("average-pool", "global")


def _build(who, make, input_shape, classes, rng, width, aux, conv, norm, third, last_pool, dropout, head_pool):
    """The net; `third` names the third branch, which begins with its kernel."""
    check_image(who, input_shape, least=32)
    scaled = narrowed(who, width)

    def pool(network, name, kernel=3):
        kernel = tuple(min(kernel, n) for n in network.node(network.last).shape[1:])
        return network.add(make("max-pool", kernel, stride=2, ceil=True), name=name)

    def module(network, name):
        one, reduce3, three, reduce5, five, project = map(scaled, MODULES[name])
        prefix, source, ends = f"inception{name}-", network.last, []
        for branch in (
            conv("1x1", one),
            [*conv("3x3-reduce", reduce3), *conv("3x3", three, 3)],
            [*conv(f"{third}-reduce", reduce5), *conv(third, five, int(third[0]))],
            [("pool", make("max-pool", 3, stride=1, padding=1)), *conv("project", project)],
        ):
            network = network.chain(branch, after=source, prefix=prefix, rng=rng)
            ends.append(network.last)
        return network.add(make("concatenate"), *ends, name=f"inception{name}")

    network = pool(Network.input(input_shape).chain(conv("conv1", scaled(64), 7, 2), rng=rng), "pool1")
    second = [*norm(1), *conv("conv2-reduce", scaled(64)), *conv("conv2", scaled(192), 3), *norm(2)]
    network = pool(network.chain(second, rng=rng), "pool2")
    for name in MODULES:
        if name == "4a":
            network = pool(network, "pool3")
        elif name == "5a":
            network = pool(network, "pool4", last_pool)
        network = module(network, name)
    head = [
        ("pool5", make("average-pool", "global")),
        ("flatten", make("flatten")),
        ("dropout", make("dropout", dropout)),
        ("classifier", make("dense", classes)),
    ]
    network = network.chain(head, rng=rng)
    for number, source in enumerate(("inception4a", "inception4d") if aux else (), start=1):
        head = [
            ("pool", head_pool(make, network.node(source).shape[1:])),
            *conv("conv", scaled(128)),
            ("flatten", make("flatten")),
            ("dense", make("dense", scaled(1024), init="centred")),
            ("relu", make("relu")),
            ("dropout", make("dropout", 0.7)),
            ("classifier", make("dense", classes)),
        ]
        network = network.chain(head, after=source, prefix=f"aux{number}-", rng=rng)
    return network


LOSSES = {
    "classifier": "cross-entropy",
    "aux1-classifier": ("cross-entropy", 0.3),
    "aux2-classifier": ("cross-entropy", 0.3),
}


@hookimpl
def register_architectures(register):
    small = [{"input_shape": (1, 32, 32), "width": 1 / 16, "aux": aux} for aux in (False, True)]
    register("googlenet", googlenet, lr=0.01, epochs=40, losses=LOSSES, examples=small)
    register("googlenet-torchvision", googlenet_torchvision, lr=0.05, losses=LOSSES, examples=small)
