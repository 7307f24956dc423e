"""Checkpoints that are spoilt at random: weights, or one message with the path."""

import io
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer
from safetensors.torch import save
from torch import Tensor

from psa_seg.checkpoints.reading import classes_of, config_of, load_checkpoint, state_dict
from tests.mutating import CUTS, SPOTS, many, mutated, said

WEIGHTS = torch.nn.BatchNorm2d(4).state_dict()
CHECKPOINT = {
    "state_dict": WEIGHTS,
    "meta": {"cfg": "model = dict(type='A')", "dataset_meta": {"classes": ("a", "b")}},
    "message_hub": {"log_scalars": {"loss": HistoryBuffer([1.0, 2.0], [1, 1])}},
}


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


WHOLE = saved(CHECKPOINT)
OLD = saved(CHECKPOINT, _use_new_zipfile_serialization=False)


def with_another_pickle(change):
    """The checkpoint with a directory and checksums that agree, whatever its pickle became."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as whole, zipfile.ZipFile(file, "w") as made:
        for member in whole.infolist():
            data = whole.read(member)
            made.writestr(member.filename, change(data) if "data.pkl" in member.filename else data)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated")


@pytest.mark.filterwarnings("ignore")
@many
@given(
    kind=st.sampled_from(["zip", "zip's end", "pickle", "old", "safetensors"]),
    spots=SPOTS,
    cut=CUTS,
)
def test_checkpoints(folder, kind, spots, cut):
    path = folder / ("a.safetensors" if kind == "safetensors" else "a.pth")
    path.write_bytes(
        with_another_pickle(lambda data: mutated(data, spots, cut))
        if kind == "pickle"
        else mutated(
            {"old": OLD, "safetensors": save(WEIGHTS)}.get(kind, WHOLE), spots, cut, "end" in kind
        )
    )

    def attempt():
        found = load_checkpoint(str(path))
        assert any(isinstance(value, Tensor) for value in state_dict(found).values())
        classes_of(found)
        config_of(found)

    message = said(attempt)
    if message:
        assert str(path) in message
        assert 2 <= len(message.splitlines()) <= 5
        assert "weights_only" not in message
