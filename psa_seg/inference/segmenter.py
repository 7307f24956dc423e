"""Pictures in, label maps out: the object that `psa_seg.load` gives."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from mmseg.registry import DATASETS, TRANSFORMS
from mmseg.structures import SegDataSample
from torch import Tensor

from psa_seg.datasets.loading import KEYS, NamingDataset
from psa_seg.errors import DataError, UserError
from psa_seg.inference import stored
from psa_seg.inference.gates import Watch
from psa_seg.inference.picture import Item, Picture, load_picture
from psa_seg.inference.result import Segmentation
from psa_seg.inference.tiles import whole_from_tiles
from psa_seg.models.placement import find
from psa_seg.models.segmentors import LeanEncoderDecoder, LeanTTAModel

LEAST_TILE = 32  # pixels: networks see a map of 1/8 to 1/32 of it


@dataclass(frozen=True)
class Wanted:
    """What is computed of each picture, and how.

    Attributes:
        scores: the probability of each class.
        confidence: that of the class which is predicted.
        gates: those of the attentions.
        tta: average over the config's test-time augmentations.
        tile: side of the squares, in pixels of what the network sees, in which it sees the picture
            one after the other; 0 for the picture as a whole.
        batch: how many pictures of one size the network sees at once.
        bgr: whether arrays are BGR, as OpenCV reads, and not RGB.
    """

    scores: bool = False
    confidence: bool = False
    gates: bool = False
    tta: bool = False
    tile: int = 0
    batch: int = 1
    bgr: bool = False


class Segmenter:
    """A trained model that labels pictures.

    Calling it needs no data set and no Runner. A picture is a path, a PIL image, or an array
    `[H, W, 3]` of uint8, RGB (with `bgr=True`, BGR), or grey, or with alpha, which is left out.
    Label maps of pictures one by one, as a whole, are those of `tools/test.py`, bit for bit.

    Args:
        path: of the checkpoint.
        config: of one to take in place of the checkpoint's.
        device: `cpu`, `cuda:1`; by default a GPU, if there is one.

    Attributes:
        names: of the classes, in the order of their numbers.
        palette: RGB of each.
        model: MMSegmentation's segmentor, for evaluation.
        data: the data.yaml it was trained on, if it was one.
        path: of the checkpoint.
        steps: of the pipeline from a file to the network.
    """

    def __init__(
        self, path: str | Path, config: str | None = None, device: str | None = None
    ) -> None:
        held = stored.read(str(path), config)
        self.names, self.palette, self.data = held.names, held.palette, held.data
        self.path, self._validation = held.path, held.validation
        self.device = _device(device)
        self.model: Any = held.model.to(self.device)
        self.steps, self._views = held.steps, held.views

    def __repr__(self) -> str:
        return f"<Segmenter {self.path}: {len(self.names)} classes, on {self.device}>"

    def __call__(self, pictures: Any, **wanted: Any) -> Any:
        """Label a picture, or each of a list of them.

        Args:
            pictures: one, or a list.
            **wanted: fields of `Wanted`, `scores=True` say.

        Returns:
            A `Segmentation`, or a list of them.

        Raises:
            UserError: for a picture that cannot be read, and what the model cannot do.
        """
        several = isinstance(pictures, list | tuple)
        found = []
        for one in self.each(pictures if several else [pictures], Wanted(**wanted)):
            if isinstance(one, UserError):
                raise one
            found.append(one)
        return found if several else found[0]

    def each(
        self, pictures: Iterable[Picture], wanted: Wanted
    ) -> Iterator[Segmentation | UserError]:
        """What comes of one picture after the other: labels, or what is wrong with it.

        Raises:
            UserError: for what the model cannot do with any picture.
        """
        self.require(wanted)
        load, rest = self.pipeline(wanted.tta)
        group: list[Item] = []
        for picture in pictures:
            try:
                item = load_picture(load, rest, picture, wanted.bgr)
            except UserError as error:
                yield from self._labelled(group, wanted)
                group = []
                yield error
                continue
            if group and group[0].size != item.size:
                yield from self._labelled(group, wanted)
                group = []
            group.append(item)
            if len(group) == wanted.batch:
                yield from self._labelled(group, wanted)
                group = []
        yield from self._labelled(group, wanted)

    def require(self, wanted: Wanted) -> None:
        """Raise UserError for wishes that do not go together, or not with this model."""
        ours = isinstance(self.model, LeanEncoderDecoder)
        slides = ours and self.model.test_cfg.get("mode", "whole") != "whole"
        reasons = {
            "tile: tiles are seen once each, and not augmented": wanted.tile and wanted.tta,
            "gates: the network has no attention": wanted.gates and not find(self.model),
            "gates: an attention has others for each tile": wanted.gates and wanted.tile,
            "gates: an attention has others for each view": wanted.gates and wanted.tta,
            "gates: an attention has others for each window (test_cfg.mode='slide')": (
                wanted.gates and slides
            ),
            "tta: the config has no tta_pipeline": wanted.tta and not self._views,
            f"{type(self.model).__name__} gives labels alone": not ours
            and (wanted.scores or wanted.confidence or wanted.tile or wanted.tta),
        }
        for reason, stands in reasons.items():
            if stands:
                raise UserError(f"{reason}\n  do         leave one of them out")
        if wanted.batch < 1:
            raise UserError(f"batch={wanted.batch}\n  do         give 1, or more pictures at once")
        if 0 != wanted.tile < LEAST_TILE:
            raise UserError(
                f"tile={wanted.tile}\n  do         give {LEAST_TILE} pixels a side, or more; 0: no "
                "tiles"
            )

    @contextmanager
    def giving(self, scores: bool = False, confidence: bool = False) -> Iterator[None]:
        """What the model's predictions hold besides labels, within the block."""
        model, before = self.model, None
        if isinstance(model, LeanEncoderDecoder):
            before = model.scored, model.confident
            model.scored, model.confident = scores, confidence
        try:
            yield
        finally:
            if before:
                model.scored, model.confident = before

    def validation(self, masks: bool = False) -> NamingDataset | None:
        """The images that the model was validated on, if they are on this disk; else None.

        Args:
            masks: whether theirs must be here, too.
        """
        if not self._validation:
            return None
        try:
            found = DATASETS.build(self._validation)
            places = [found.get_data_info(index) for index in range(len(found))]
            needed = KEYS if masks else KEYS[:1]
            there = all(Path(info[key]).is_file() for info in places for key in needed)
        except Exception:  # whatever data that are elsewhere make a data set say
            return None
        return NamingDataset(found) if places and there else None

    def pipeline(self, tta: bool = False) -> tuple[Any, Compose]:
        """From a file to the network: the first step, which loads it, and all that follow."""
        first, *rest = self._views if tta else self.steps
        return TRANSFORMS.build(first), Compose(rest)

    @torch.inference_mode()
    def _labelled(self, group: Sequence[Item], wanted: Wanted) -> list[Segmentation | UserError]:
        """The group's results."""
        if not group:
            return []
        try:
            with self.giving(wanted.scores, wanted.confidence):
                samples, gates = self._predicted(group, wanted)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate" in str(error)):
                raise
            return [_too_large(item, wanted) for item in group]
        return [
            Segmentation(
                labels=_numpy(sample.pred_sem_seg.data[0]).astype(self._dtype),
                names=self.names,
                palette=self.palette,
                picture=item.image,
                confidence=_numpy(sample.confidence.data[0]) if wanted.confidence else None,
                scores=probabilities(sample.seg_logits.data) if wanted.scores else None,
                gates=gates.of(index) if gates else None,
            )
            for index, (item, sample) in enumerate(zip(group, samples, strict=True))
        ]

    @property
    def _dtype(self) -> type[np.generic]:
        return np.uint8 if len(self.names) <= 256 else np.uint16

    def _predicted(
        self, group: Sequence[Item], wanted: Wanted
    ) -> tuple[Sequence[SegDataSample], Watch | None]:
        model = self.model
        if wanted.tile:
            samples = [item.data["data_samples"] for item in group]
            for item, sample in zip(group, samples, strict=True):
                whole_from_tiles(model, item.data["inputs"], sample, wanted.tile)
            return samples, None
        data = {key: [item.data[key] for item in group] for key in ("inputs", "data_samples")}
        if wanted.tta:  # of each view, all pictures
            views = {k: list(map(list, zip(*of, strict=True))) for k, of in data.items()}
            return LeanTTAModel(model, data_preprocessor=None).test_step(views), None
        with Watch(model) if wanted.gates else nullcontext() as gates:
            return model.test_step(data), gates


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device).tolist()  # which one without memory does not give
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0][:100]
        here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise UserError(
            f"no device {name!r} here: {reason}\n  do         name {' or '.join(here)}"
        ) from None
    return device


def _too_large(item: Item, wanted: Wanted) -> UserError:
    height, width = item.image.shape[:2]
    smaller = "a smaller tile" if wanted.tile else "--tile 1024, or in Python tile=1024"
    where = item.path or "the array"
    return DataError(
        f"memory does not hold what the network makes of {width}x{height} pixels: {where}\n"
        f"  do         {'a smaller --batch, or ' * (wanted.batch > 1)}{smaller}"
    )


def probabilities(logits: Tensor) -> np.ndarray:
    """float32 `[classes, H, W]`; a head of one channel gives the probability of the second."""
    if len(logits) == 1:
        return _numpy(torch.cat([1 - logits, logits]))
    return _numpy(logits.float().softmax(0))


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
