"""Network in network: after each convolution a small dense net at every site, two 1x1 convolutions; no dense layers."""

from __future__ import annotations

from simulator import Network, check_image, hookimpl, narrowed


def nin_cifar10(make, input_shape=(3, 32, 32), classes=10, rng=None, width: float = 1.0):
    """Network in network for CIFAR-10: three stages of one convolution and two 1x1 convolutions; 0.97 M params.

    As a matrix: a 1x1 convolution is the same small dense matrix at every site, a Kronecker product with the identity.

    Parameters
    ----------
    make : callable
        Asks the catalog for a layer.
    input_shape : tuple of int, default (3, 32, 32)
        Channels, height, width; at least 6 x 6.
    classes : int, default 10
        Number of logits, and of maps of the last convolution.
    rng : numpy.random.Generator or None
        Draws the first weights.
    width : float, default 1
        Factor on the number of feature maps.

    Notes
    -----
    966,986 params, 222,486,528 MACs, 200,978,688 nonzeros; sizes 32, 16, 8, because Caffe and cuda-convnet round the
    number of pooling windows up. The numbers of maps are those of the authors' code; the paper prints no table.

    The authors put a ReLU on the last maps, too, before each is averaged to one logit. A map that is negative
    everywhere at the start gets no gradient through it, and its class is never learned: here that ReLU is left out.

    References
    ----------
    M. Lin, Q. Chen, S. Yan, "Network in network", 2014.
    """
    check_image("nin-cifar10", input_shape, least=6)
    scaled = narrowed("nin-cifar10", width)
    layers = [
        *_stage(make, 1, (scaled(192), scaled(160), scaled(96)), kernel=5, padding=2),
        ("pool1", make("max-pool", 3, stride=2, ceil=True)),
        ("dropout1", make("dropout", 0.5)),
        *_stage(make, 2, (scaled(192),) * 3, kernel=5, padding=2),
        ("pool2", make("average-pool", 3, stride=2, ceil=True)),
        ("dropout2", make("dropout", 0.5)),
        *_stage(make, 3, (scaled(192), scaled(192), classes), kernel=3, padding=1)[:-1],
        ("pool3", make("average-pool", "global")),
        ("flatten", make("flatten")),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


def nin(make, input_shape=(3, 224, 224), classes=1000, rng=None, width: float = 1.0):
    """Network in network for ImageNet, as Caffe's model zoo has it: four stages, 7.6 M params.

    Parameters
    ----------
    make, classes, rng, width
        As for `nin_cifar10`.
    input_shape : tuple of int, default (3, 224, 224)
        Channels, height, width; at least 55 x 55.

    Notes
    -----
    7,595,176 params, 1,100,188,800 MACs, 1,019,579,520 nonzeros; sizes 54, 27, 13, 6, because Caffe rounds
    the number of pooling windows up (rounded down: 54, 26, 12, 5). The paper describes the idea only, this net comes
    from its authors. As in `nin_cifar10` the last ReLU is left out.

    References
    ----------
    M. Lin, Q. Chen, S. Yan, "Network in network", 2014; Caffe model zoo, "Network in Network ImageNet model".
    """
    check_image("nin", input_shape, least=55)
    scaled = narrowed("nin", width)
    layers = [
        *_stage(make, 1, (scaled(96),) * 3, kernel=11, stride=4),
        ("pool1", make("max-pool", 3, stride=2, ceil=True)),
        *_stage(make, 2, (scaled(256),) * 3, kernel=5, padding=2),
        ("pool2", make("max-pool", 3, stride=2, ceil=True)),
        *_stage(make, 3, (scaled(384),) * 3, kernel=3, padding=1),
        ("pool3", make("max-pool", 3, stride=2, ceil=True)),
        ("dropout3", make("dropout", 0.5)),
        *_stage(make, 4, (scaled(1024), scaled(1024), classes), kernel=3, padding=1)[:-1],
        ("pool4", make("average-pool", "global")),
        ("flatten", make("flatten")),
    ]
    return Network.input(input_shape).chain(layers, rng=rng)


def _stage(make, stage, maps, kernel, padding=0, stride=1):
    """One convolution with a window and two of 1x1, each with a ReLU: the paper's mlpconv layer."""
    windows = [{"kernel": kernel, "stride": stride, "padding": padding}, {"kernel": 1}, {"kernel": 1}]
    layers = []
    for number, (count, window) in enumerate(zip(maps, windows, strict=True), start=1):
        layer = make("conv", count, init="centred", **window)
        layers += [(f"conv{stage}_{number}", layer), (f"relu{stage}_{number}", make("relu"))]
    return layers


@hookimpl
def register_architectures(register):
    register("nin-cifar10", nin_cifar10, lr=0.03, epochs=40, examples=[{"input_shape": (1, 12, 12), "width": 1 / 8}])
    register("nin", nin, lr=0.02, epochs=40, examples=[{"input_shape": (1, 55, 55), "width": 1 / 8}])
