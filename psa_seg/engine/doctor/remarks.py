"""What may be wrong with data, and is no reason to stop: told before a run, and by the doctor."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from mmengine.config import Config
from PIL import Image

from psa_seg.engine.doctor.data import Found, is_own, leaves
from psa_seg.engine.doctor.masks import absent_from, together, told_absent
from psa_seg.engine.doctor.sizes import crops
from psa_seg.records.fingerprint import digest

SAMPLED = 64  # images whose brightness is looked at
FIRST_BYTES = 1 << 16
SMALL = (64, 64)  # pixels to which a JPEG may be decoded for that
FAR, LEVELS = 6, 50  # times the usual distance from the median brightness, and levels of 255
LEVELS_OF_HALF = 256  # of the lower half of a 16-bit level
MANY_TIMES = 4  # as many pixels as most have, or as few
MUCH_IGNORED = 0.5
PUBLIC = ("Cityscapes", "CamVid", "VOC12Aug", "ADE20K")
Sets = dict[str, list[Found]]


def remarks(config: Config, found: Sets) -> list[str]:
    """What may be wrong, a message each.

    Args:
        config: of a training or a test.
        found: the data sets on the disk, by loader.
    """
    if _images(found, "test_dataloader") == _images(found, "val_dataloader"):
        found = {key: sets for key, sets in found.items() if key != "test_dataloader"}
    looks = (_name, _leaks, _absent, _ignored, _crops, _outliers)
    return [remark for look in looks for remark in look(config, found)]


def _name(config: Config, found: Sets) -> Iterator[str]:
    """A set of one's own that a base's name would be given to, in records and tables."""
    own = any(is_own(dataset) for _, dataset in leaves(config.train_dataloader.dataset))
    if own and "data_file" not in config and config.data_name in PUBLIC:
        yield (
            f"records and tables will call these data {config.data_name}, as the base's\n"
            f"  do         data_name = 'mine' in {config.filename}"
        )


def _images(found: Sets, loader: str) -> list[Path]:
    return [pair.image for one in found.get(loader, []) for pair in one.pairs]


def _leaks(config: Config, found: Sets) -> Iterator[str]:
    """Images that are trained on and scored on: of files of one size, those of one content."""
    trained = _by_size(_images(found, "train_dataloader"))
    for loader in ("val_dataloader", "test_dataloader"):
        scored = _by_size(_images(found, loader))
        both = trained.keys() & scored.keys()
        same = [pair for size in both for pair in _same(trained[size], scored[size])]
        if same:
            yield (
                f"{len(same)} images of {loader} are among the training images: no score of those "
                f"is one\n  for one    {same[0][1]}\n             {same[0][0]}\n"
                "  do         take them out of one of both"
            )


def _same(trained: Sequence[Path], scored: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Files of one size that hold the same; most differ in their first bytes."""
    begin = {_beginning(path): path for path in trained}
    alike = [path for path in scored if _beginning(path) in begin]
    if alike:
        wanted = {_beginning(path) for path in alike}
        whole = {digest(path): path for path in trained if _beginning(path) in wanted}
        yield from ((whole[d], path) for path in alike if (d := digest(path)) in whole)


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(FIRST_BYTES)).digest()


def _by_size(paths: Sequence[Path]) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        found[path.stat().st_size].append(path)
    return found


def _absent(config: Config, found: Sets) -> Iterator[str]:
    """Classes of which a set that is scored on has no pixel."""
    for loader, sets in found.items():
        whole = together([one.survey for one in sets])
        if absent_from(config, whole):
            yield (
                told_absent(config, loader, whole)
                + "  so         mIoU is the mean over the others, or what is predicted in their "
                "place"
            )


def _ignored(config: Config, found: Sets) -> Iterator[str]:
    for loader, sets in found.items():
        whole = together([one.survey for one in sets])
        share = whole.ignored / (whole.ignored + sum(whole.pixels))
        if share > MUCH_IGNORED:
            yield f"{100 * share:.0f} % of the pixels of {loader} are ignored: is that meant?"


def _crops(config: Config, found: Sets) -> Iterator[str]:
    """A crop that is larger than the images are: the rest of it is padding."""
    headers = [image for one in found.get("train_dataloader", []) for image, _ in one.headers]
    steps = config.train_dataloader.dataset.get("pipeline") or []
    if not headers or any(isinstance(step, dict) and step.get("scale") for step in steps):
        return  # they are of another size when they are cropped
    for key, (rows, columns) in crops(config):
        sizes = [header.loaded for header in headers]
        small = sum(width < columns or height < rows for width, height in sizes)
        if small > len(sizes) / 2:
            yield (
                f"crops of {rows}x{columns} (rows x columns) are larger than {small} of "
                f"{len(sizes)} images, and padded\n  where      {key}\n"
                "  do         make them smaller: crop in the data.yaml"
            )


def _outliers(config: Config, found: Sets) -> Iterator[str]:
    """Images that are far brighter or darker, larger or smaller, than the rest."""
    pairs = [(p.image, h[0]) for sets in found.values() for o in sets for p, h in o.both()]
    if not pairs:  # of images without masks
        return
    usual = median(header.size[0] * header.size[1] for _, header in pairs)
    far = [
        (path, header.loaded)
        for path, header in pairs
        if not usual / MANY_TIMES <= header.size[0] * header.size[1] <= usual * MANY_TIMES
    ]
    if far:
        (width, height), _ = Counter(header.loaded for _, header in pairs).most_common(1)[0]
        path, size = far[0]
        yield (
            f"{len({path for path, _ in far})} images are of far other size than the rest "
            f"(most often {width}x{height})\n  for one    {path}: {size[0]}x{size[1]}"
        )
    chosen = np.unique(np.linspace(0, len(pairs) - 1, SAMPLED).astype(int))
    with ThreadPoolExecutor() as pool:
        means = list(pool.map(_brightness, [pairs[i][0] for i in chosen]))
    known = {pairs[i][0]: mean for i, mean in zip(chosen, means, strict=True) if mean is not None}
    middle = median(known.values()) if known else 0.0
    spread = median(abs(mean - middle) for mean in known.values()) if known else 0.0
    odd = [p for p, mean in known.items() if abs(mean - middle) > max(FAR * spread, LEVELS)]
    if odd:
        yield (
            f"{len(odd)} of {len(known)} images are far brighter or darker than the rest (median "
            f"{middle:.0f} of 255)\n  for one    {odd[0]}: {known[odd[0]]:.0f}"
        )


def _brightness(path: Path) -> float | None:
    """The mean of an image's levels; None where loading it will say what is wrong."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bit, of which the upper half is loaded
                return float(np.asarray(image).mean() / LEVELS_OF_HALF)
            image.draft("L", SMALL)
            return float(np.asarray(image.convert("L").resize(SMALL)).mean())
    except Exception:  # whatever a broken file makes Pillow say
        return None
