"""MMSegmentation's own ways to a picture, with configs and checkpoints of ours."""

import mmcv
import numpy as np
import pytest
from mmseg.apis import MMSegInferencer, inference_model, init_model, show_result_pyplot

from tests.inference.conftest import NAME


@pytest.fixture
def config(checkpoint):
    return str(checkpoint.with_name(f"{NAME}.py"))


def test_inference_model(segmenter, checkpoint, config, pictures, tmp_path):
    model = init_model(config, str(checkpoint), device="cpu")
    expected = [one.labels for one in segmenter(pictures)]
    found = inference_model(model, [str(path) for path in pictures])
    for one, labels in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.pred_sem_seg.data[0].numpy(), labels)
    array = mmcv.imread(str(pictures[0]))
    np.testing.assert_array_equal(
        inference_model(model, array).pred_sem_seg.data[0].numpy(), expected[0]
    )
    out = tmp_path / "shown.png"
    show_result_pyplot(model, str(pictures[0]), found[0], show=False, out_file=str(out))
    assert out.is_file()


def test_inferencer(segmenter, checkpoint, config, pictures, tmp_path):
    inferencer = MMSegInferencer(config, str(checkpoint), device="cpu", show_progress=False)
    expected = [one.labels for one in segmenter(pictures)]
    found = inferencer([str(path) for path in pictures], out_dir=str(tmp_path))
    for one, labels in zip(found["predictions"], expected, strict=True):
        np.testing.assert_array_equal(one, labels)
    assert len([*(tmp_path / "vis").iterdir()]) == len(pictures)
