"""The commands of docs/your_data.md, in their order, on a dozen drawn images."""

import re
import shlex
import sys
from importlib import import_module

import cv2
import numpy as np
import pytest
import torch
import yaml
from mmseg.registry import MODELS

from psa_seg.datasets.data_file import data_file
from psa_seg.engine.config import load_config
from psa_seg.records import read
from tests.conftest import ROOT
from tests.datasets.own import SPLITS, draw

PAGE = (ROOT / "docs/your_data.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
]
DATA, EXPERIMENT = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[::-1]
FASTER = {
    "max_iters=2000": "max_iters=2",
    "val_interval=500": "val_interval=2",
    "checkpoint.interval=500": "checkpoint.interval=2",
    "iter_2000.pth": "iter_2.pth",
}
SHORT = ["train_cfg.max_iters=2", "train_cfg.val_interval=2", "train_dataloader.batch_size=2"]
SHORT += [f"{loader}_dataloader.num_workers=0" for loader in ("train", "val", "test")]


def test_the_file_of_the_page(tmp_path):
    file = data_file(yaml.safe_load(DATA), tmp_path / "data.yaml")
    assert (file.names, file.scale, file.crop) == (("background", "crack"), (480, 320), (320, 320))
    assert file.ids == {0: 0, 255: 1, 128: 255}


def test_every_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "photos")
    for folder in ("configs", "tools"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    experiment = yaml.safe_load(EXPERIMENT) | {"demo": True, "seeds": [0]}
    experiment["options"] |= {
        key: int(value) for key, value in (option.split("=") for option in SHORT)
    }
    experiment["attentions"].pop("SE")
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(experiment))
    config = load_config(str(ROOT / "configs/psa_deeplabv3plus_mobilenetv2_cityscapes.py"))
    plain = dict(config.model.backbone, type="MobileNetV2", init_cfg=None)
    torch.save(MODELS.build(plain).state_dict(), tmp_path / "mobilenet.pth")
    monkeypatch.setenv("MOBILENET_V2_WEIGHTS", str(tmp_path / "mobilenet.pth"))
    said = []
    for command in COMMANDS:
        for slow, fast in FASTER.items():
            command = command.replace(slow, fast)
        python, tool, *arguments = shlex.split(command, comments=True)
        assert python == "python"
        main = import_module(tool.removesuffix(".py").replace("/", ".")).main
        if "sweep" in tool and "--list" not in arguments:  # its runs, in this process
            for run in ("none_seed0", "psa_seed0"):
                monkeypatch.setattr(sys, "argv", [tool, *arguments, "--run", run])
                main()
        if "train" in tool or "test" in tool:
            arguments += ["--cfg-options"] * ("--cfg-options" not in arguments) + SHORT
        monkeypatch.setattr(sys, "argv", [tool, *arguments])
        codes = []
        monkeypatch.setattr(sys, "exit", codes.append)
        main()
        assert codes in ([], [0]), command
        said.append(capsys.readouterr().out)
    assert "0 errors" in said[0]
    assert (tmp_path / "photos/data.yaml").is_file()
    assert cv2.imread("sheet.png") is not None
    assert "missing  psa_seed0" in said[-3]
    assert "| PSA |" in (tmp_path / "work_dirs/board/leaderboard.md").read_text()
    record = read(tmp_path / "work_dirs/photos/record.json")
    assert record.is_complete
    assert (record.data, record.classes) == ("photos", ("class 0", "class 1", "class 2"))
    assert "start      work_dirs/photos/iter_2.pth" in said[-5]
    assert f"mIoU: {record.last.scores()['mIoU']:.4f}" in said[-4]
    pictures = list((tmp_path / "pictures").rglob("*.png"))
    assert len(pictures) == SPLITS["val"]
    assert np.ptp(cv2.imread(str(pictures[0]))) > 100


def test_what_it_links_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


@pytest.mark.parametrize("name", ["README.md", "docs/recipes.md"])
def test_other_pages_name_it(name):
    assert "your_data.md" in (ROOT / name).read_text()
