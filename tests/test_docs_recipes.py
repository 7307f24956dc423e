"""docs/recipes.md, word for word: each snippet below its base, trained for a step or two."""

import copy
import json
import random
import re

import pytest
import torch
from mmseg.models import EncoderDecoder
from mmseg.registry import DATASETS, MODELS
from torch.nn.functional import cross_entropy, interpolate

from psa_seg.datasets import ReplayableAlbu
from psa_seg.engine.runner import PairedRunner
from psa_seg.models import LeanEncoderDecoder
from psa_seg.records import read
from psa_seg.records.fingerprint import fingerprint
from tests.conftest import ROOT, evaluate, small, train
from tests.engine.test_loop import built, crops, equal

TEXT = (ROOT / "docs/recipes.md").read_text()
BASE = re.search(r'^_base_ = \["psa_seg::(.*)\.py"\]', TEXT, re.MULTILINE)[1]
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
RECIPES = {title: re.findall(r"```python\n(.*?)```", s, re.DOTALL) for title, s in SECTIONS.items()}
LOSSES = {
    "Class weights": {"loss_ce"},
    "OHEM": {"loss_ce"},
    "Dice beside cross entropy": {"loss_ce", "loss_dice"},
    "Lovász": {"loss_ce", "loss_lovasz"},
}


def pasted(title, streets, folder, **options):
    """The config of a recipe, made small; it reports only where that is looked at."""
    (snippet,) = RECIPES[title]
    folder.mkdir(exist_ok=True)
    base = ROOT / f"configs/{BASE}.py"
    name = folder / folder.name  # runs of one name that start in one second share their log
    name.with_suffix(".py").write_text(f'_base_ = ["{base}"]\n{snippet}')
    once = {"train_cfg.max_iters": 1, "train_cfg.val_interval": 1}
    keep = {"default_hooks.checkpoint.interval": 1, "default_hooks.checkpoint.max_keep_ckpts": -1}
    config = small(name, streets, folder / "work", **{**once, **keep, **options})
    config.default_hooks.logger.interval = 1
    hooks = [hook for hook in config.custom_hooks if hook.type != "ReportHook"]
    assert len(hooks) == len(config.custom_hooks) - 1, "the snippet lost the record"
    config.custom_hooks = hooks
    return config


@pytest.fixture
def mine(streets, tmp_path):
    return lambda title, **options: pasted(title, streets, tmp_path, **options)


def scalars(folder):
    """What was logged, of all steps and validations."""
    (path,) = (folder / "work").rglob("scalars.json")
    return [json.loads(line) for line in path.read_text().splitlines()]


def checkpoint(folder, step):
    return torch.load(folder / f"work/iter_{step}.pth", weights_only=False)


@pytest.fixture(scope="module")
def plain(streets, tmp_path_factory):
    """Folder of two steps of the base by itself."""
    folder = tmp_path_factory.mktemp("plain")
    config = small(BASE, streets, folder / "work", custom_hooks=[])
    config.train_cfg.update(max_iters=2, val_interval=1)
    config.param_scheduler[0].end = 2
    config.default_hooks.update(logger=dict(type="LoggerHook", interval=1))
    config.default_hooks.checkpoint.interval = 1
    train(config)
    return folder


def test_every_recipe_is_one_snippet():
    assert len(RECIPES) == 13
    assert all(len(snippets) == 1 for snippets in RECIPES.values())
    anchors = {re.sub(r"[^\w-]", "", title.lower().replace(" ", "-")) for title in RECIPES}
    assert anchors < set(re.findall(r"\(#(.*?)\)", TEXT))


@pytest.mark.parametrize("title", LOSSES)
def test_losses_are_those_of_the_log(mine, plain, tmp_path, title):
    config = mine(title)
    train(config)
    ours, base = scalars(tmp_path)[0], scalars(plain)[0]
    assert {k.removeprefix("decode.") for k in ours if "decode.loss" in k} == LOSSES[title]
    changed = title == "Class weights"  # the others' cross entropy is that of a start at random
    assert (ours["decode.loss_ce"] != base["decode.loss_ce"]) == changed
    assert (ours["aux.loss_ce"] != base["aux.loss_ce"]) == changed
    assert ours["loss"] == pytest.approx(sum(v for k, v in ours.items() if ".loss" in k))


def test_hard_pixels(mine):
    """Of both heads: what is surely right has no loss, and what is not has."""
    model = MODELS.build(mine("OHEM").model)
    for each in (model.decode_head, model.auxiliary_head):
        labels = torch.zeros(1, 1, 512, 256, dtype=torch.long)
        logits = torch.zeros(1, 19, 512, 256)
        logits[:, 0, 500:] = 10
        kept = each.sampler.sample(logits, labels)[0]
        assert kept[:500].all()
        assert not kept[500:].any()


def test_two_classes(mine, tmp_path):
    title = "Two classes with one output channel"
    config = mine(title)
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.metainfo = dict(classes=("road", "sidewalk"))
    for each in (config.model.decode_head, config.model.auxiliary_head):
        each.num_classes = 2  # `shrink` has made it as many as the streets have
    train(config)
    weights = checkpoint(tmp_path, 1)["state_dict"]
    assert {len(weights[f"{h}.conv_seg.weight"]) for h in ("decode_head", "auxiliary_head")} == {1}
    model = MODELS.build(config.model).eval()
    assert (model.decode_head.threshold, model.auxiliary_head.loss_decode.loss_weight) == (0.5, 0.4)
    model.load_state_dict(weights)
    data = DATASETS.build(config.val_dataloader.dataset)[0]
    sample = model.val_step(dict(inputs=[data["inputs"]], data_samples=[data["data_samples"]]))[0]
    assert set(sample.pred_sem_seg.data.unique().tolist()) <= {0, 1}


def test_averages_are_validated_saved_and_resumed(mine, streets, tmp_path, monkeypatch):
    title = "EMA of the weights"
    seen, name = [], "decode_head.conv_seg.weight"
    predict = LeanEncoderDecoder.predict
    monkeypatch.setattr(
        LeanEncoderDecoder,
        "predict",
        lambda self, *args: (seen.append(self.state_dict()[name].clone()), predict(self, *args))[1],
    )
    options = {"train_cfg.val_interval": 4, "param_scheduler.0.end": 4}
    train(mine(title, **options, **{"train_cfg.max_iters": 4}))
    whole = checkpoint(tmp_path, 4)
    average = checkpoint(tmp_path, 1)["ema_state_dict"][f"module.{name}"]
    for step in (2, 3, 4):
        average = average.lerp(checkpoint(tmp_path, step)["ema_state_dict"][f"module.{name}"], 2e-4)
    assert torch.equal(whole["state_dict"][name], average)
    assert not torch.equal(whole["ema_state_dict"][f"module.{name}"], average)
    assert torch.equal(seen[-1], average)
    for steps in (2, 4):
        options["train_cfg.max_iters"] = steps
        train(pasted(title, streets, tmp_path / "parts", **options, resume=True))
    parts = checkpoint(tmp_path / "parts", 4)
    for kind in ("state_dict", "ema_state_dict"):
        assert parts[kind].keys() == whole[kind].keys()
        assert all(torch.equal(v, whole[kind][k]) for k, v in parts[kind].items())
    config = small(BASE, streets, tmp_path / "work")
    evaluate(config, str(tmp_path / "work/iter_4.pth"))
    assert torch.equal(seen[-1], average)


def test_a_run_that_stops_early_has_a_record_that_is_not_complete(mine, tmp_path):
    options = {"train_cfg.max_iters": 9, "optim_wrapper.optimizer.lr": 0.0}
    config = mine("Early stopping", **options)
    config.custom_hooks.append(dict(type="ReportHook", samples=1))
    train(config)
    record = read(tmp_path / "work/record.json")
    steps = [validation.iteration for validation in record.validations]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert record.inference
    assert not record.is_complete
    assert (tmp_path / "work/iter_6.pth").is_file()


def test_the_best_checkpoint(mine, streets, tmp_path):
    config = mine("The best checkpoint")
    train(config)
    (best,) = (tmp_path / "work").glob("best_mIoU_iter_*.pth")
    held = torch.load(best, weights_only=False)
    assert "optimizer" not in held
    assert (tmp_path / "work/last_checkpoint").read_text().endswith("iter_1.pth")
    evaluate(small(BASE, streets, tmp_path / "test"), str(best))


def test_validation_loss(mine, plain, tmp_path):
    """It is that computed by hand, and what is trained is what is trained without it."""
    best = {"default_hooks.checkpoint.save_best": "val_loss"}
    config = mine("Validation loss", **best, **{"train_cfg.max_iters": 2})
    bare = copy.deepcopy(config)
    bare.custom_hooks = []
    assert fingerprint(bare) == fingerprint(config)
    config.model.data_preprocessor.test_cfg = dict(size=(160, 288))  # padding has no truth
    train(config)
    weights = checkpoint(tmp_path, 2)["state_dict"]
    assert all(torch.equal(v, weights[k]) for k, v in checkpoint(plain, 2)["state_dict"].items())
    model = MODELS.build(config.model).eval()
    model.load_state_dict(weights)
    data = DATASETS.build(config.val_dataloader.dataset)
    by_hand = {"decode": [], "aux": []}
    for item in data:
        batch = dict(inputs=[item["inputs"]], data_samples=[item["data_samples"]])
        image = model.data_preprocessor(batch)["inputs"][:, :, :128, :256]
        truth = item["data_samples"].gt_sem_seg.data
        with torch.no_grad():
            features = model.extract_feat(image)
            for name, part in (("decode", model.decode_head), ("aux", model.auxiliary_head)):
                logits = interpolate(part(features), truth.shape[1:], mode="bilinear")
                loss = cross_entropy(logits, truth, reduction="none", ignore_index=255).mean()
                by_hand[name].append(float(loss) * (0.4 if name == "aux" else 1))
    means = {name: sum(values) / len(values) for name, values in by_hand.items()}
    logged = scalars(tmp_path)[-1]
    assert logged["val_decode.loss_ce"] == pytest.approx(means["decode"])
    assert logged["val_aux.loss_ce"] == pytest.approx(means["aux"])
    assert logged["val_loss"] == pytest.approx(sum(means.values()))
    assert list((tmp_path / "work").glob("best_val_loss_iter_*.pth"))


def test_windows(mine, monkeypatch):
    config = mine("Sliding windows")
    for key in ("crop_size", "stride"):  # as images and crops are
        config.model.test_cfg[key] = tuple(size // 8 for size in config.model.test_cfg[key])
    sizes, encode = [], EncoderDecoder.encode_decode
    monkeypatch.setattr(
        EncoderDecoder,
        "encode_decode",
        lambda self, x, metas: (sizes.append(tuple(x.shape[2:])), encode(self, x, metas))[1],
    )
    train(config)
    assert sizes == [(64, 128)] * 9 * 4


def test_windows_take_a_checkpoint_trained_without(plain, streets, tmp_path):
    windows = {"mode": "slide", "crop_size": (64, 128), "stride": (64, 128)}
    options = {f"model.test_cfg.{key}": value for key, value in windows.items()}
    config = small(BASE, streets, tmp_path / "test", **options)
    evaluate(config, str(plain / "work/iter_2.pth"), tta=True)


def test_albumentations(mine, tmp_path):
    pytest.importorskip("albumentations")
    config = mine("Albumentations")
    first = crops(built(config))
    assert equal(first, crops(built(config)))
    steps = config.train_dataloader.dataset.pipeline
    (ours,) = [step for step in steps if step.type == "ReplayableAlbu"]
    ours.type = "Albu"
    assert not equal(crops(built(config)), crops(built(config)))
    ours.type = "ReplayableAlbu"
    config.work_dir = str(tmp_path / "trained")
    train(config)
    steps.remove(ours)
    assert not equal(first, crops(built(config)))


def test_albumentations_draw_from_the_images_own_stream():
    """Whether they are installed or not."""

    class Compose:
        def set_random_seed(self, seed):
            self.generator = random.Random(seed)

        def __call__(self, **results):
            return {**results, "image": self.generator.random()}

    step = object.__new__(ReplayableAlbu)
    step.aug, step.bgr_to_rgb, step.update_pad_shape = Compose(), False, False
    step.keymap_to_albu, step.keymap_back = {"img": "image"}, {"image": "img"}
    drawn = []
    for seed in (1, 2, 1):
        random.seed(seed)
        drawn.append(step.transform({"img": None})["img"])
    assert drawn[0] == drawn[2] != drawn[1]


def test_frozen_stages(mine, tmp_path):
    train(mine("Frozen stages", **{"train_cfg.max_iters": 2, "train_cfg.val_interval": 2}))
    before, after = (checkpoint(tmp_path, step)["state_dict"] for step in (1, 2))
    for name, tensor in before.items():
        same = name.startswith(("backbone.stem", "backbone.layer1"))
        if same or name.endswith(("running_var", "conv1.weight")):
            assert torch.equal(after[name], tensor) == same, name


def test_rates(mine, monkeypatch):
    """A tenth for the backbone, and one end for all."""
    ended, after = [], PairedRunner.train
    monkeypatch.setattr(PairedRunner, "train", lambda self: (after(self), ended.append(self)))
    train(mine("A rate for the backbone", **{"train_cfg.max_iters": 2}))
    groups = ended[0].optim_wrapper.optimizer.param_groups
    names = {id(p): name for name, p in ended[0].model.named_parameters()}
    start = {names[id(g["params"][0])].split(".")[0]: g["initial_lr"] for g in groups}
    rates = {"backbone": 0.001, "decode_head": 0.01, "auxiliary_head": 0.01}
    assert start == pytest.approx(rates)
    assert {round(group["lr"], 9) for group in groups} == {1e-4}
