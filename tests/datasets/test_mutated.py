"""Data that are spoilt at random: what they hold, or one message with the path."""

import io

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mmseg.registry import DATASETS
from PIL import Image

from psa_seg.datasets.data_file import DataFile, read_data_file
from psa_seg.datasets.folder import split_pairs
from psa_seg.datasets.loading import NamingDataset
from psa_seg.engine.config import load_config
from psa_seg.engine.own_data import use_data
from tests.conftest import ROOT
from tests.datasets.own import describe, draw, scene
from tests.mutating import CUTS, SPOTS, many, mutated, said

IMAGE, MASK = scene(0)


def encoded(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


MASKS = [
    encoded(MASK, "PNG"),
    encoded(MASK, "BMP"),
    encoded(MASK.astype(np.uint16), "PNG"),
    encoded(MASK, "TIFF", compression="tiff_lzw"),
    encoded(MASK, "GIF"),
]
IMAGES = [
    encoded(IMAGE, "JPEG"),
    encoded(IMAGE, "PNG"),
    encoded(IMAGE, "WEBP"),
    encoded(IMAGE, "BMP"),
    encoded(IMAGE, "TIFF"),
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A folder and the training set over it."""
    root = draw(tmp_path_factory.mktemp("mutated") / "own")
    config = load_config(str(ROOT / "configs/psa_deeplabv3plus_cityscapes.py"))
    use_data(config, read_data_file(describe(root)))
    return root, NamingDataset(DATASETS.build(config.train_dataloader.dataset))


def is_right_or_a_message(root, dataset, path, data):
    def attempt():
        item = dataset[0]
        mask = item["data_samples"].gt_sem_seg.data
        assert {*mask.unique().tolist()} <= {0, 1, 2, 255}
        assert item["inputs"].shape[1:] == mask.shape[1:]

    original = path.read_bytes()
    path.write_bytes(data)
    message = said(attempt)
    path.write_bytes(original)
    if message:
        assert str(path) in message or str(root / "masks/train/0.png") in message
        assert 2 <= len(message.splitlines()) <= 5
        assert "Traceback" not in message


@pytest.mark.filterwarnings("ignore")  # of decoders, which say what they make of it
@many
@given(data=st.sampled_from(MASKS), spots=SPOTS, cut=CUTS)
def test_masks(loaded, data, spots, cut):
    root, dataset = loaded
    path = root / "masks/train/0.png"  # whatever it is
    is_right_or_a_message(root, dataset, path, mutated(data, spots, cut))


@pytest.mark.filterwarnings("ignore")
@many
@given(data=st.sampled_from(IMAGES), spots=SPOTS, cut=CUTS)
def test_images(loaded, data, spots, cut):
    root, dataset = loaded
    path = root / "images/train/0.jpg"
    is_right_or_a_message(root, dataset, path, mutated(data, spots, cut))


RIGHT = {
    "images": {"train": "images/train", "val": "images/val"},
    "masks": {"train": "masks/train", "val": "masks/val"},
    "names": ["a", "b", "c"],
    "values": {0: "a", 1: "b", 2: "c", 255: "ignore"},
    "scale": [32, 24],
    "name": "mine",
}
KEYS = [*RIGHT, "path", "crop", "ignore", "val", "palette", "lists", "nmaes"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["train", "val", "a", "b", "images/train", "*", "#804080", "x.txt", "/", "\0"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(SCALARS.filter(bool), inner, max_size=4)
    ),
    max_leaves=6,
)


@many
@given(
    left_out=st.sets(st.sampled_from(["images", "values", "scale", "name"]), max_size=2),
    changes=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3),
    spots=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 126)), max_size=2),
)
def test_data_files(loaded, left_out, changes, spots):
    root, _ = loaded
    path = root / "mutated.yaml"
    kept = {key: value for key, value in RIGHT.items() if key not in left_out}
    if "images" in left_out:
        kept |= {"images": {"train": "images/train"}, "masks": {"train": "masks/train"}}
    data = bytearray(yaml.safe_dump({**kept, **changes}, allow_unicode=True).encode())
    for place, value in spots:
        data[place % len(data)] = value
    path.write_bytes(data)

    def attempt():
        file = read_data_file(path)
        assert isinstance(file, DataFile)
        assert {*file.ids.values()} >= {*range(len(file.names))}
        for split in ("train", "val"):
            assert split_pairs(file, split)

    message = said(attempt)
    if message:
        assert str(root) in message or str(path.parent) in message
        assert 2 <= len(message.splitlines()) <= 20
