"""Published networks as matrices, counted, against every integer that is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator import Experiment, Finding, hookimpl
from simulator.describe import describe

_MEASURED = ("params", "links", "MACs", "nonzeros")
_SOURCES = ("the published integers",) * 3 + ("the integers counted by other means",)
_IMAGENET = {"classes": 1000}
# What it is called here: architecture, options, known params, links, MACs, nonzeros; None where none is known.
_PUBLISHED = {
    "lecun1989": ("lecun1989", {}, 9_760, 64_660, 63_660, 50_232),
    "lenet5-1998": ("lenet5-1998", {"input_shape": (1, 32, 32)}, 60_000, 340_908, None, 332_824),
    "lenet5": ("lenet5", {"input_shape": (1, 32, 32)}, 61_706, None, 416_520, 416_520),
    "lenet-caffe": ("lenet-caffe", {}, 431_080, None, 2_293_000, 2_293_000),
    "nin-cifar10": ("nin-cifar10", {}, 966_986, None, 222_486_528, 200_978_688),
    "all-cnn-c": ("all-cnn-c", {}, 1_369_738, None, None, None),
    "resnet20-cifar": ("resnet20-cifar", {}, 269_722, None, 40_551_040, 36_957_504),
    "resnet20-cifar, B": ("resnet20-cifar", {"option": "B"}, 272_474, None, 40_813_184, 37_219_648),
    "plain20": ("plain20", {}, 269_722, None, 40_551_040, 36_957_504),
    "resnet56-cifar": ("resnet56-cifar", {}, 853_018, None, 125_485_696, 113_892_672),
    "resnet56-cifar, B": ("resnet56-cifar", {"option": "B"}, 855_770, None, 125_747_840, 114_154_816),
    "plain56": ("plain56", {}, 853_018, None, 125_485_696, 113_892_672),
    "alexnet": ("alexnet", _IMAGENET, 60_965_224, None, 724_406_816, 671_322_656),
    "alexnet-ungrouped": ("alexnet-ungrouped", _IMAGENET, 62_378_344, None, 1_135_256_096, 1_044_029_984),
    "alexnet-torchvision": ("alexnet-torchvision", _IMAGENET, 61_100_840, None, 714_188_480, 657_918_720),
    "vgg11": ("vgg11", _IMAGENET, 132_863_336, None, 7_609_090_048, 7_315_399_424),
    "vgg16": ("vgg16", _IMAGENET, 138_357_544, None, 15_470_264_320, 14_969_824_000),
    "vgg16-bn": ("vgg16-bn", _IMAGENET, 138_365_992, None, 15_470_264_320, 14_969_824_000),
    "vgg19": ("vgg19", _IMAGENET, 143_667_240, None, 19_632_062_464, 18_957_820_672),
    "nin": ("nin", _IMAGENET, 7_595_176, None, 1_100_188_800, 1_019_579_520),
    "googlenet": ("googlenet", _IMAGENET, 6_998_552, None, 1_582_671_872, 1_504_618_240),
    "googlenet, heads": ("googlenet", {**_IMAGENET, "aux": True}, 13_378_280, None, None, None),
    "googlenet-torchvision": ("googlenet-torchvision", _IMAGENET, 6_624_904, None, 1_498_376_192, 1_434_527_488),
    "googlenet-torchvision, heads": (
        "googlenet-torchvision",
        {**_IMAGENET, "aux": True},
        13_004_888,
        None,
        None,
        None,
    ),
    "resnet18": ("resnet18", _IMAGENET, 11_689_512, None, 1_814_073_344, 1_680_390_912),
    "resnet50": ("resnet50", _IMAGENET, 25_557_032, None, 4_089_184_256, 3_948_251_904),
    "resnet50-v1": ("resnet50-v1", _IMAGENET, 25_557_032, None, 3_857_973_248, 3_698_805_504),
    "resnet152": ("resnet152", _IMAGENET, 60_192_808, None, 11_513_626_624, 11_028_499_200),
}
_SMALL = 3_000_000  # params that a network of --quick has at most


@dataclass(frozen=True)
class PublishedCounts(Experiment):
    """Published networks, built as matrices, have exactly their known counts.

    Each network is built at its published input without weights, and its params, links, multiply-adds and nonzeros are
    compared with the integers that are known, which not all networks have of everything. Nothing is random, so one seed
    is enough.

    Links are LeCun's: a connection for each tap of each unit, also on padding, and one for each bias. MACs are
    counted the usual way, taps on padding included, without bias. Nonzeros are those of the equivalent sparse fully
    connected matrices with trained weights, where taps on zero padding have none; papers do not print them, so they
    were counted once by other means: they are the column "known nonzeros". Pooling, shortcuts and batch
    normalisation are in neither of the two; params have batch normalisation's scale and shift.

    Known oddities: the AlexNet paper says 253,440 units for its first layer, where 55 x 55 x 96 are 290,400, and 224
    pixels where 227 fit; GoogLeNet's own table rounds; torchvision's GoogLeNet has 3 x 3 kernels in the branch that is
    called 5 x 5; ResNet-50's stride sits in the 1 x 1 convolution in the paper and in the 3 x 3 in torchvision.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", 1989; Y. LeCun et al.,
    "Gradient-based learning applied to document recognition", 1998; A. Krizhevsky, I. Sutskever, G. E. Hinton,
    "ImageNet classification with deep convolutional neural networks", 2012; K. Simonyan, A. Zisserman, "Very deep
    convolutional networks for large-scale image recognition", 2014; M. Lin, Q. Chen, S. Yan, "Network in network",
    2013; C. Szegedy et al., "Going deeper with convolutions", 2014; J. T. Springenberg et al., "Striving for
    simplicity: the all convolutional net", 2014; K. He et al., "Deep residual learning for image recognition", 2015.

    Examples
    --------
    >>> from simulator import Catalog
    >>> PublishedCounts().run({"network": "lenet5"}, 0, Catalog())[0]["params"]
    61706
    """

    seeds: ClassVar[int] = 1
    quick_seeds: ClassVar[int] = 1

    def conditions(self, quick=False):
        return [{"network": name} for name, published in _PUBLISHED.items() if not quick or published[2] <= _SMALL]

    def run(self, condition, seed, catalog):
        architecture, options, *published = _PUBLISHED[condition["network"]]
        totals = describe(catalog.build(architecture, rng=None, **options)).totals
        counted = (totals.params, totals.links, totals.macs, totals.nonzeros)
        row = {}
        for name, count, expected in zip(_MEASURED, counted, published, strict=True):
            row |= {name: count, f"known {name}": expected}
        return [row]

    def findings(self, table):
        findings = []
        for name, source in zip(_MEASURED, _SOURCES, strict=True):
            rows = [row for row in table if row[f"known {name}"] is not None]
            wrong = [
                f"{row['network']} {row[name]:,} for {row[f'known {name}']:,}"
                for row in rows
                if row[name] != row[f"known {name}"]
            ]
            measured = f"{len(rows) - len(wrong)} of {len(rows)} exactly"
            if rows:
                claim = f"{name} of {len(rows)} network{'s'[: len(rows) != 1]}"
                told = f"{measured}; {', '.join(wrong)}" if wrong else measured
                findings.append(Finding(claim, source, told, not wrong))
        return findings

    def draw(self, table, figure):
        figure.set_size_inches(8, 1.5 + 0.22 * len(table))
        ax = figure.subplots()
        places = range(len(table), 0, -1)
        ax.hlines(places, [row["params"] for row in table], [row["nonzeros"] for row in table], color="0.8", zorder=0)
        for name, colour, label in (
            ("params", "tab:blue", "published params"),
            ("nonzeros", "tab:orange", "nonzeros counted by other means"),
        ):
            ax.plot([row[name] for row in table], places, "o", color=colour, label=name)
            published = [row[f"known {name}"] or float("nan") for row in table]
            ax.plot(published, places, "o", ms=11, mfc="none", mec=colour, label=label)
        ax.set_yticks(places, [row["network"] for row in table])
        ax.set_xscale("log")
        ax.set_xlabel("params and nonzeros")
        figure.legend(loc="outside upper center", ncols=4, frameon=False)


@hookimpl
def register_experiments(register):
    register("counts", PublishedCounts)
