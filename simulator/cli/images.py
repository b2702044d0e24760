"""Pictures from files for a network: brought to what its data are, said what was done to each."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simulator.cli.common import data_for
from simulator.cli.remembered import preparation_of, trained_source
from simulator.cli.train import train
from simulator.errors import brief, shown

if TYPE_CHECKING:
    import numpy as np

    from simulator.catalog import Catalog
    from simulator.files import Saved
    from simulator.preparation import Preparation

_NAMED = 3  # pictures to which something of their own was done


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures as a network reads them.

    Parameters
    ----------
    paths : list of pathlib.Path
        Their files.
    inputs : numpy.ndarray, (n, channels, height, width)
        As the network sees them.
    notes : list of tuple of str
        What was done to each.
    fingerprints : numpy.ndarray of uint64, (n,)
        What they are recognised by.
    """

    paths: list[Path]
    inputs: np.ndarray
    notes: list[tuple[str, ...]]
    fingerprints: np.ndarray

    def tell(self) -> None:
        """Print what was done: once for all to which the same was done."""
        kinds: dict[tuple[str, ...], list[str]] = {}
        for path, notes in zip(self.paths, self.notes, strict=True):
            kinds.setdefault(notes, []).append(shown(str(path)))
        for notes, names in kinds.items():
            if notes:
                more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                click.echo(f"Note: {', '.join(names[:_NAMED])}{more}: {'; '.join(notes)}.", err=True)


def picture_files(named: Sequence[str]) -> list[Path]:
    """The files that were named: themselves, what a pattern such as "*.png" finds, or the pictures in a folder."""
    from simulator.errors import FileError
    from simulator.pictures import ENDINGS, is_picture

    files: list[Path] = []
    for name in named:
        path = Path(name)
        if path.is_dir():
            found = sorted(filter(is_picture, path.iterdir()))
        elif path.exists():
            found = [path]
        else:  # some shells leave patterns to the program
            found = [Path(each) for each in sorted(glob.glob(name))]
        if not found:
            kinds = " ".join(ENDINGS)
            raise FileError(
                f"predict --image: expected a picture, or a folder of pictures ({kinds}), got {brief(name)}, where "
                f"there {'is none' if path.is_dir() else 'is no file'}; check the path"
            )
        files += found
    return files


def images_for(
    catalog: Catalog, saved: Saved, files: Sequence[Path], invert: bool | None, crop: bool | None = None
) -> Images:
    """Pictures in the size, channels, scale and on the background of the data that a network was trained on."""
    import numpy as np

    from simulator.data import resized
    from simulator.errors import ShapeError
    from simulator.pictures import read_picture
    from simulator.preparation import background_of

    shape = saved.network.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ShapeError(
            f"predict --image: expected a network that reads pictures (1 or 3, height, width), got one that reads "
            f"{shape}; leave out --image"
        )
    like = _known(catalog, saved)
    space = like.size or shape[1:]  # such as 8 x 8, where its data were resized from there
    inputs = np.empty((len(files), *shape), np.float32)
    notes, prints = [], []
    for i, file in enumerate(files):
        picture = read_picture(file, "predict --image")
        prints.append(picture.fingerprint)
        grey = picture.brought_to((1, *picture.pixels.shape[1:]))[0] / 255
        background = background_of(grey)
        done = list(picture.notes)
        frame = None if crop is False or background is None else _frame(grey, like, space, bool(crop))
        if frame is not None:
            picture = picture.framed(*frame)
            done.append(f"cropped to {frame[2]}x{frame[3]} around the drawing")
        own = picture.pixels
        if len(own) > shape[0]:
            done.append("colours to grey")
        image = picture.brought_to((shape[0], *space)).astype(np.float32) / np.float32(255)
        image = resized(image[None], shape[1:])[0]
        steps = ["x".join(map(str, size)) for size in (own.shape[1:], space, shape[1:])]
        steps = [size for size, before in zip(steps, [None, *steps], strict=False) if size != before]
        done += [f"resized from {' to '.join(steps)}"] if len(steps) > 1 else []
        opposite = None not in (background, like.background) and background != like.background
        if opposite if invert is None else invert:
            image = 1 - image
            why = f" (what the network knows is on a {like.background} background)" if opposite else ""
            done.append(f"inverted{why}")
        inputs[i] = like.from_unit(image)
        notes.append((*done, *like.range_told))
    return Images(list(files), inputs, notes, np.array(prints, np.uint64))


def _frame(grey: np.ndarray, like: Preparation, space: Sequence[int], always: bool) -> tuple[int, int, int, int] | None:
    """Top, left, height and width of the part in which a drawing is as large as the network knows drawings.

    None if it is large enough as it is, unless it shall be cropped always, or if the network knows no drawings.
    """
    from simulator.preparation import drawing_of

    if like.extent is None:
        return None
    least, usual_height, usual_width = like.extent
    top, bottom, left, right = drawing_of(grey)
    if (bottom - top) / len(grey) >= least and not always:
        return None
    across = space[1] / space[0]
    height = max(1, round(max((bottom - top) / usual_height, (right - left) / usual_width / across)))
    width = max(1, round(height * across))
    return (top + bottom - height) // 2, (left + right - width) // 2, height, width


def _known(catalog: Catalog, saved: Saved) -> Preparation:
    """What the network's data are like; of a file that does not say it the data themselves are looked at."""
    from collections.abc import Mapping

    from simulator.errors import SimulatorError
    from simulator.preparation import Preparation

    told, source = preparation_of(saved), trained_source(saved, train)
    if told is not None:
        return told
    try:
        data = None if source is None else data_for(catalog, source, saved.network.input_shape)
    except SimulatorError:
        data = None
    if data is None or isinstance(data.inputs, Mapping):
        click.echo(
            "Note: the file does not say what its data are like; pictures go from 0 to 1, and --invert shows it the "
            "light dark.",
            err=True,
        )
        return Preparation()
    return data.preparation.measured(data.inputs)
