"""Submissions to Cityscapes' server: from a checkpoint, from predictions, or to be checked."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import get_rank

from psa_seg import files
from psa_seg.datasets.headers import header
from psa_seg.engine import launch, prepare
from psa_seg.engine.distributed import once
from psa_seg.errors import DataError, UserError
from psa_seg.evaluation import submission
from psa_seg.evaluation.submission import COUNT, SIZE, Size

TEST_IMAGES = "leftImg8bit/test"


def from_checkpoint(config: Config, checkpoint: str, target: Path, tta: bool) -> None:
    """Predict the test images, and zip the predictions.

    Args:
        config: of a model for Cityscapes; its test split lies under
            `test_dataloader.dataset.data_root`, wherever the config itself tests.
        checkpoint: path of a checkpoint of this very model.
        target: of the zip.
        tta: average over the config's test-time augmentations.

    Raises:
        UserError: for all that a user can mend; no zip is written then.
    """
    dataset = config.test_dataloader.dataset
    images = Path(dataset.get("data_root") or "", TEST_IMAGES)
    dataset.data_prefix = dict(img_path=TEST_IMAGES)
    folder = once(lambda: _begin(target))
    try:
        expected = once(lambda: awaited(images))
        launch.test(prepare.predicting(config, checkpoint, folder, tta))
        once(lambda: submission.write(target, Path(folder), expected, "train"))
    finally:
        if get_rank() == 0:
            shutil.rmtree(folder, ignore_errors=True)
    if get_rank() == 0:
        print(f"wrote {target}, which has passed all checks")


def _begin(target: Path) -> str:
    """A folder for predictions beside the zip, which is not there yet."""
    files.must_be_new(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)


def from_folder(folder: Path, target: Path, images: Path | None, ids: str | None) -> None:
    """Zip predictions that exist; arguments as for `submission.write`, `images` as for `check`."""
    if not folder.is_dir():
        raise files.missing("folder of predictions", folder)
    expected = _expected(images)
    target.parent.mkdir(parents=True, exist_ok=True)
    submission.write(target, folder, expected, ids)
    print(f"wrote {target}, which has passed all checks")


def check(path: Path, images: Path | None) -> None:
    """Check a zip that exists.

    Args:
        path: of the zip.
        images: folder of the test images; None for Cityscapes', if they lie at CITYSCAPES_ROOT.

    Raises:
        UserError: with all that is wrong with it.
    """
    count = submission.check(path, _expected(images))
    print(f"{path}: {count} predictions, all as they should be")


def _expected(images: Path | None) -> Mapping[str, Size] | None:
    usual = Path(os.environ.get("CITYSCAPES_ROOT", "data/cityscapes"), TEST_IMAGES)
    if images is None and not usual.is_dir():
        print(
            f"no test images in {usual}: {COUNT} files of {SIZE[0]}x{SIZE[1]} are expected, and of "
            "their names the pattern alone (--images FOLDER, or CITYSCAPES_ROOT, for more)"
        )
        return None
    if images and not images.is_dir():
        raise files.missing("folder of test images", images)
    return awaited(images or usual)


def awaited(images: Path) -> dict[str, Size]:
    """Width and height of each test image, by city, sequence and frame.

    Raises:
        UserError: where there are none, or one is damaged.
    """
    sizes = {}
    for path in sorted(images.rglob("*.png")):
        frame = submission.frame_of(path.name)
        try:
            size = header(path).size
        except DataError:
            size = None
        if frame is None or size is None:
            raise UserError(
                f"no test image of Cityscapes, or cut short: {path}\n"
                "  do         copy it again; its name begins <city>_<sequence>_<frame>"
            )
        sizes[frame] = size
    if not sizes:
        raise UserError(
            f"no test images in {images}\n"
            "  do         unpack leftImg8bit_trainvaltest.zip, and set CITYSCAPES_ROOT to where"
        )
    if len(sizes) != COUNT or set(sizes.values()) != {SIZE}:
        widths = sorted({f"{width}x{height}" for width, height in sizes.values()})
        print(
            f"NOTE: {len(sizes)} images of {', '.join(widths)} in {images}, and not Cityscapes' "
            f"{COUNT} of {SIZE[0]}x{SIZE[1]}: its server takes no zip for these"
        )
    return sizes
