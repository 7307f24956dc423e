"""A model, its data and its loops do not fit each other: known before the first step."""

import numpy as np
import pytest
from mmengine.config import ConfigDict
from PIL import Image

from psa_seg.engine import looking
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_classes
from psa_seg.engine.doctor.classes import heads
from psa_seg.errors import UserError
from psa_seg.records import read
from tests.conftest import ROOT, evaluate, small, train
from tests.quick import CROPS

NAME = "psa_deeplabv3plus_cityscapes"
OCR = "psa_hrnet48_ocr_cityscapes"
SHORT = {"train_cfg.max_iters": 2, "train_cfg.val_interval": 2, "custom_hooks.0.samples": 1}
SETS = ("train_dataloader", "val_dataloader")


def own_set(config, **options):
    """The synthetic scenes as somebody's own, of MMSegmentation's general type."""
    for loader in SETS:
        dataset = config[loader].dataset
        dataset.update(type="BaseSegDataset", img_suffix="_leftImg8bit.png", **options)
        dataset.seg_map_suffix = "_gtFine_labelIds.png"


HEADS = {
    "19 over 3": (NAME, {"model.decode_head.num_classes": 3}, "decode_head.num_classes=3"),
    "an auxiliary head": (NAME, {"model.auxiliary_head.num_classes": 2}, "auxiliary_head.num_cl"),
    "more than there are": (
        NAME,
        {"model.decode_head.num_classes": 21},
        "num_classes=21",
    ),
    "a stage of a cascade": (OCR, {"model.decode_head.0.num_classes": 2}, "decode_head.0.num_cl"),
    "one output of 19": (NAME, {"model.decode_head.out_channels": 1}, "out_channels=1 for 19"),
    "weights of classes": (
        NAME,
        {"model.decode_head.loss_decode.class_weight": [1.0, 2.0]},
        "2 weights for 19 classes\n  where      model.decode_head.loss_decode.class_weight",
    ),
    "one of several losses": (
        NAME,
        {"model.auxiliary_head.loss_decode": [dict(type="CrossEntropyLoss", class_weight=[1] * 3)]},
        "model.auxiliary_head.loss_decode.0.class_weight",
    ),
    "ignored by one head": (NAME, {"model.decode_head.ignore_index": 0}, "what is ignored differs"),
    "ignored by the metric": (
        NAME,
        {"val_evaluator.ignore_index": 7},
        "evaluator.ignore_index=7",
    ),
    "padded with another": (NAME, {"model.data_preprocessor.seg_pad_val": 0}, "seg_pad_val=0"),
}


@pytest.mark.parametrize("mismatch", HEADS)
def test_heads_and_data(tiny, tmp_path, mismatch):
    name, options, words = HEADS[mismatch]
    with pytest.raises(UserError) as error:
        train(tiny(name, **options))
    assert words in str(error.value)
    assert not (tmp_path / "work").exists()


def test_sets_of_different_classes(tiny):
    config = tiny(NAME)
    for loader, classes in zip(SETS, (("a", "b"), ("b", "a")), strict=True):
        config[loader].dataset.update(type="BaseSegDataset", metainfo=dict(classes=classes))
    with pytest.raises(UserError, match="data sets have different classes"):
        train(config)


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        (None, "does not tell its classes"),
        (dict(classes=("a", "b"), palette=[[0, 0, 0]]), "1 colours for 2 classes"),
        (dict(classes=("a",), palette=[[0, 0, 0], [1, 1, 1]]), "2 colours for 1 classes"),
    ],
)
def test_a_set_without_classes_or_with_another_palette(tiny, meta, words):
    config = tiny(NAME)
    own_set(config, metainfo=meta)
    with pytest.raises(UserError, match=words):
        train(config)


@pytest.mark.parametrize("ignored", [0, 33])
def test_another_id_is_ignored_throughout(tmp_path, tiny, ignored):
    """0, which is a class besides: unlabelled pixels, as some sets have it; 33, which is none."""
    options = {f"model.{h}.ignore_index": ignored for h in ("decode_head", "auxiliary_head")}
    options |= {f"{name}_evaluator.ignore_index": ignored for name in ("val", "test")}
    options |= CROPS | {"model.data_preprocessor.seg_pad_val": ignored}
    config = tiny(NAME, **SHORT, **options)
    classes = 34 if ignored == 0 else 33
    own_set(config, metainfo=dict(classes=[f"label {i}" for i in range(classes)]))
    config.allow_absent = True
    for head in (config.model.decode_head, config.model.auxiliary_head):
        head.num_classes = classes
    train(config)
    confusion = np.array(read(tmp_path / "work/record.json").last.confusion)
    assert confusion.shape == (classes, classes)
    assert confusion[0].sum() == 0 or ignored
    assert confusion[7].sum() > 0
    config.test_dataloader = config.val_dataloader
    for tta in (False, True)[: 2 if ignored else 1]:
        evaluate(config, str(tmp_path / "work/iter_2.pth"), tta=tta)


USERS = {  # as people write them, and as mmengine and MMSegmentation take them
    "a scale of one number": ("val", 1, dict(type="Resize", scale=(256, 128))),
    "few meta keys": (
        "val",
        3,
        dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape")),
    ),
}


@pytest.mark.parametrize("case", USERS)
def test_configs_of_users_that_are_right(tiny, case):
    loader, place, step = USERS[case]
    config = tiny(NAME, **SHORT)
    config[f"{loader}_dataloader"].dataset.pipeline[place] = step
    config.val_cfg.pop("type")
    train(config)


def test_heads_that_tell_no_classes_of_the_data_are_left_alone(tiny):
    config = tiny(NAME)
    config.model.decode_head.kernel_update_head = [dict(type="X", num_classes=3)]
    config.model.auxiliary_head = [
        config.model.auxiliary_head,
        dict(type="STDCHead", num_classes=2),
        dict(type="PointHead"),
    ]
    told = {key: head.num_classes for key, head in heads(config.model)}
    assert told == {
        "model.decode_head": 19,
        "model.decode_head.kernel_update_head.0": 3,
        "model.auxiliary_head.0": 19,
    }


def test_classes_in_a_file_of_their_own(tiny, tmp_path):
    """mmengine reads them there."""
    (tmp_path / "classes.txt").write_text("\n".join(f"label {i}" for i in range(34)))
    config = tiny(NAME)
    own_set(config, metainfo=dict(classes=str(tmp_path / "classes.txt"), palette=[[0] * 3] * 34))
    for _, head in heads(config.model):
        head.num_classes = 34
    assert check_classes(config, *SETS) == []


PIPELINES = {
    "images are not packed": lambda steps: steps[:-1],
    "images come without their masks": lambda steps: [s for s in steps if s.type != "LoadLabelIds"],
}


@pytest.mark.parametrize("words", PIPELINES)
def test_pipelines_that_lack_a_step(tiny, words):
    config = tiny(NAME)
    dataset = config.val_dataloader.dataset
    dataset.pipeline = PIPELINES[words](dataset.pipeline)
    with pytest.raises(UserError, match=words):
        train(config)


def test_training_images_that_are_not_cut_to_one_size(tiny):
    config = tiny(NAME)
    steps = config.train_dataloader.dataset.pipeline
    steps[:] = [step for step in steps if step.type != "RandomCrop"]
    with pytest.raises(UserError, match="come in many sizes, by RandomResize"):
        train(config)


LOOPS = {
    "epochs": ({"train_cfg": dict(type="EpochBasedTrainLoop", max_epochs=3)}, "counts epochs"),
    "by epoch": ({"train_cfg": dict(by_epoch=True, max_epochs=9)}, "max_iters"),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_of_epochs(tiny, loop):
    options, words = LOOPS[loop]
    with pytest.raises(UserError, match=words):
        tiny(NAME, **options)


@pytest.mark.parametrize("key", ["val_dataloader", "val_evaluator", "val_cfg"])
def test_no_validation_set(tmp_path, key):
    path = tmp_path / "mine.py"
    path.write_text(f'_base_ = ["{ROOT}/configs/{NAME}.py"]\n{key} = None\n')
    with pytest.raises(UserError, match=rf"config has no {key}(.|\n)*val: 0.2"):
        load_config(str(path))


def test_group_norm_takes_one_image_and_batch_norm_does_not(tiny):
    norm = dict(type="GN", num_groups=4)
    config = tiny(NAME, **SHORT, **{"train_dataloader.batch_size": 1})
    with pytest.raises(UserError, match="batch normalisation needs two"):
        train(config)
    for part in (config.model.backbone, config.model.decode_head, config.model.auxiliary_head):
        part.norm_cfg = norm
    train(config)


@pytest.mark.parametrize("kind", ["LoadLabelIds", "LoadAnnotations"])
def test_masks_that_are_loaded_before_images_are_resized(tiny, kind):
    config = tiny(NAME)
    config.val_dataloader.dataset.pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type=kind),
        dict(type="Resize", scale=(128, 64)),
        dict(type="PackSegInputs"),
    ]
    with pytest.raises(UserError, match="the mask is then of 64x128"):
        train(config)


def uneven(streets, tmp_path):
    """Two sizes in one set."""
    root = tmp_path / "uneven"
    for path in streets.rglob("*.png"):
        place = root / path.relative_to(streets)
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.crop((0, 0, 256, 128 - 32 * (int(path.name.split("_")[1]) % 2))).save(place)
    return root


def test_batches_of_images_of_several_sizes(streets, tmp_path):
    root = uneven(streets, tmp_path)
    config = small(NAME, root, tmp_path / "work", **SHORT)
    config.val_dataloader.dataset.pipeline.pop(1)
    config.val_dataloader.batch_size = 2
    with pytest.raises(UserError, match=r"2 images of val_dataloader make a batch, and come in 2"):
        train(config)
    config.val_dataloader.batch_size = 1
    train(config)


def test_training_images_of_several_sizes_that_nothing_cuts(streets, tmp_path):
    config = small(NAME, uneven(streets, tmp_path), tmp_path / "work", **SHORT)
    steps = config.train_dataloader.dataset.pipeline
    kept = ("LoadImageFromFile", "LoadLabelIds", "RandomFlip", "PackSegInputs")
    steps[:] = [step for step in steps if step.type in kept]
    config.model.data_preprocessor.size = (64, 128)
    with pytest.raises(UserError, match=r"make a batch, and come in 2 sizes(.|\n)*RandomCrop"):
        train(config)
    preprocessor = config.model.data_preprocessor
    preprocessor.size = (128, 256)  # to which all are padded
    train(config)
    config.work_dir += "_again"
    config.data_preprocessor = dict(preprocessor, size=None, size_divisor=32)
    del config.model.data_preprocessor
    train(config)


def test_images_of_several_sizes_one_at_a_time(streets, tmp_path):
    config = small(NAME, uneven(streets, tmp_path), tmp_path / "work", **SHORT)
    steps = config.train_dataloader.dataset.pipeline
    steps[:] = [step for step in steps if step.type not in ("RandomCrop", "RandomResize")]
    config.model.data_preprocessor.size = (64, 128)
    config.train_cfg.micro_batch_size = 1
    for part in (config.model.backbone, config.model.decode_head, config.model.auxiliary_head):
        part.norm_cfg = dict(type="GN", num_groups=4)
    train(config)


FILLS = {
    "RandomRotate": dict(prob=1.0, degree=20, seg_pad_val=77),
    "RandomCutOut": dict(prob=1.0, n_holes=3, cutout_shape=(9, 9), seg_fill_in=77),
}


@pytest.mark.parametrize("kind", FILLS)
def test_steps_that_fill_masks_with_no_class(tiny, kind):
    config = tiny(NAME, **SHORT)
    step = ConfigDict(type=kind, **FILLS[kind])
    config.train_dataloader.dataset.pipeline.insert(2, step)
    with pytest.raises(UserError, match=r"with 77, which is no class\n.*pipeline\.2\.seg_\w+\n"):
        train(config)
    assert check_classes(config, *SETS)
    step.prob = 0.0  # never
    assert not check_classes(config, *SETS)
    step.prob = 1.0
    config.train_dataloader.dataset.pipeline[2] = dict(
        type="RandomApply", transforms=[step], prob=1.0
    )
    with pytest.raises(UserError, match=r"range: 77\n.*which a step of the pipeline has put there"):
        train(config)


def test_a_wrapper_that_fills_masks_with_no_class(tiny):
    config = tiny(NAME)
    mosaic = dict(type="RandomMosaic", prob=1.0, seg_pad_val=77)
    inner = config.train_dataloader.dataset
    config.train_dataloader.dataset = ConfigDict(
        type="MultiImageMixDataset", dataset=inner, pipeline=[mosaic]
    )
    (finding,) = check_classes(config, *SETS)
    assert "train_dataloader.dataset.pipeline.0.seg_pad_val" in finding


def test_messages_of_own_sets_do_not_say_how_to_get_anothers(tiny, tmp_path):
    config = tiny("baseline_deeplabv3plus_camvid")
    own_set(config, metainfo=dict(classes=("a", "b")), data_root=str(tmp_path / "mine"))
    with pytest.raises(UserError) as error:
        looking.look_at_data(config, "train_dataloader")
    assert "SegNet" not in str(error.value)
    assert "correct data_root and data_prefix of this BaseSegDataset" in str(error.value)


def test_a_test_is_refused_as_a_training_is(tiny, tmp_path):
    checkpoint = tmp_path / "some.pth"
    checkpoint.touch()
    for options, words in (
        ({"model.decode_head.num_classes": 3}, "the data have 19 classes"),
        ({"test_dataloader.dataset.data_prefix.img_path": "none"}, "nothing in"),
    ):
        with pytest.raises(UserError, match=words):
            evaluate(tiny(NAME, **options), str(checkpoint))
