"""`python -m psa_seg.yolo`, and its model files: each task from a plain checkpoint to ONNX."""

import copy
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from psa_seg import PolarizedSelfAttention
from psa_seg import yolo as command
from psa_seg.integrations.ultralytics import register
from tests.conftest import ROOT
from tests.integrations.conftest import (
    DATA,
    SMALL,
    enliven,
    outputs,
    place,
    plain,
    same,
    tensors,
)

pytestmark = pytest.mark.skipif(find_spec("ultralytics") is None, reason="needs psa-seg[yolo]")
FOLDER = ROOT / "configs/yolo"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))
# Each batch a step of its own, at once at its full rate: an epoch is enough to see what learns.
STEPS = dict(DATA, optimizer="SGD", lr0=0.01, nbs=2, warmup_epochs=0, val=False)
TASKS = {"detect": "yolov10", "semantic": "yolo26-sem", "pose": "yolo26-pose"}
LAST = "pose"  # the one that is resumed


def at(scale, name):
    """The name of a model, `yolo26-sem`, or of a file, with a scale."""
    kind, *rest = name.split("-")
    kind, dot, ending = kind.partition(".")
    return "-".join([kind + scale + dot + ending, *rest])


def ours(name):
    register()
    return plain(FOLDER / at("n", f"{name}-psa.yaml"))


def test_every_task_has_a_file():
    tasks = ("", "-seg", "-pose", "-cls")
    names = {"yolov10", "yolo26-sem", *(f"yolo{n}{task}" for n in (11, 26) for task in tasks)}
    assert {f"{name}-psa.yaml" for name in names} == set(FILES)


@pytest.mark.parametrize("scale", "nsmblx")
def test_yolov10_at_every_scale(scale):
    register()
    index, layer = place(plain(FOLDER / f"yolov10{scale}-psa.yaml"))
    assert type(layer) is PolarizedSelfAttention
    width = {"n": 256, "s": 512, "m": 576, "b": 512, "l": 512, "x": 640}[scale]
    assert (index, layer.in_channels, layer.init) == (11, width, "identity")


@pytest.mark.parametrize("file", FILES)
def test_first_outputs_are_the_plain_networks(file, tmp_path):
    """Of a checkpoint that the library saved; copied, fused and in half precision, too."""
    name = file.removesuffix("-psa.yaml")
    theirs = enliven(plain(f"{at('n', name)}.yaml"))
    theirs.save(tmp_path / "plain.pt")
    theirs, attended = plain(tmp_path / "plain.pt"), ours(name)
    attended.load(tmp_path / "plain.pt")
    assert attended.task == theirs.task
    index, layer = place(attended)
    x, last = torch.rand(1, 3, 64, 64), len(theirs.model.yaml["backbone"]) - 1
    assert index == last + 1
    seen = []
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert same(outputs(attended, x), outputs(theirs, x))
    layer._forward_hooks.clear()
    assert seen, "it acts"
    for change in (copy.deepcopy, torch.nn.Module.half, lambda model: model.float().fuse(False)):
        attended.model, theirs.model = change(attended.model), change(theirs.model)
        given = x.to(next(theirs.model.parameters()).dtype)
        assert same(outputs(attended, given), outputs(theirs, given))
    with torch.no_grad():  # and only the identity is one
        place(attended)[1].ln.bias.fill_(3)
    assert not same(outputs(attended, x), outputs(theirs, x))


@pytest.fixture(scope="module")
def trained(boxes, tmp_path_factory):
    """By task, an epoch from a plain checkpoint, and what was said; the last one's second, too."""
    from ultralytics.utils import LOGGER

    result = {}
    for task, name in TASKS.items():
        folder, said = tmp_path_factory.mktemp(task), []
        enliven(plain(f"{at('n', name)}.yaml")).save(folder / "plain.pt")
        yolo = ours(name)
        yolo.add_callback(
            "on_model_save",
            lambda trainer, folder=folder: (
                trainer.epoch or shutil.copy(trainer.last, folder / "part.pt")
            ),
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LOGGER, "info", lambda text, *_, said=said: said.append(str(text)))
            yolo.train(
                data=str(boxes[task]),
                pretrained=str(folder / "plain.pt"),
                epochs=2 if task == LAST else 1,
                project=str(folder),
                **STEPS,
            )
        result[task] = SimpleNamespace(yolo=yolo, folder=folder, said="\n".join(said))
    return result


@pytest.mark.parametrize("task", TASKS)
def test_trains_validates_and_predicts(task, trained, boxes):
    yolo, said = trained[task].yolo, trained[task].said
    layer = place(yolo)[1]
    assert 0 < max(p.abs().max() for p in layer.sp_wv.parameters()) < 0.3  # it began at zero
    assert "The 12 items of PolarizedSelfAttention start as the identity" in said
    (read,) = [line for line in said.splitlines() if line.startswith("Transferred")]
    count, of = map(int, read.split()[1].split("/"))
    plainly = len(plain(trained[task].folder / "plain.pt").model.state_dict())
    assert of == len(yolo.model.state_dict())
    assert count <= min(plainly, of - 12)
    metrics = yolo.val(data=str(boxes[task]), **DATA).results_dict
    assert np.isfinite(list(metrics.values())).all()
    (result,) = yolo.predict(boxes[task].parent / "detect/images/val/0.png", **SMALL)
    if task == "semantic":
        assert set(np.unique(result.semantic_mask.data)) <= {0, 1}


FRESH = """
import sys
import torch
from ultralytics import YOLO  # and nothing of psa_seg
for folder in sys.argv[1:]:
    yolo = YOLO(folder + "/best.pt")
    torch.save(yolo.model(torch.load(folder + "/x.pt")), folder + "/out.pt")
yolo = YOLO(folder + "/part.pt")
yolo.train(resume=True)
torch.save(yolo.model.state_dict(), folder + "/resumed.pt")
"""


def test_a_process_that_called_nothing_loads_and_resumes(trained):
    x = torch.rand(1, 3, 64, 64)
    for run in trained.values():
        shutil.copy(run.yolo.trainer.last, run.folder / "best.pt")
        torch.save(x, run.folder / "x.pt")
    command = [sys.executable, "-c", FRESH, *(str(run.folder) for run in trained.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Resuming training" in done.stdout, "and no new one"
    for run in trained.values():
        expected = outputs(plain(run.folder / "best.pt"), x)
        assert same(tensors(torch.load(run.folder / "out.pt")), expected)
    part = plain(run.folder / "part.pt").model.state_dict()
    resumed = torch.load(run.folder / "resumed.pt")
    (key,) = [key for key in part if key.endswith("sp_wv.weight")]
    assert 0 < (resumed[key] - part[key]).abs().max() < 0.1


def test_a_process_of_several_finds_the_layer(boxes, tmp_path):
    """Ultralytics writes a program for the processes that train on a GPU each."""
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.utils import dist

    register()
    model, folder = FOLDER / "yolov10n-psa.yaml", str(tmp_path / "runs")
    arguments = dict(model=str(model), data=str(boxes["detect"]), epochs=1, project=folder)
    trainer = DetectionTrainer(overrides={**STEPS, **arguments})
    program = dist.generate_ddp_file(trainer)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert place(plain(next(Path(folder).rglob("last.pt"))))
    dist.ddp_cleanup(trainer, program)


def test_one_training_after_the_other_is_by_our_command():
    """Ultralytics trains on several data sets by its command, once each."""
    from ultralytics.engine import trainer

    register()
    assert [sys.executable, "-m", command.__name__] == trainer._YOLO_CLI_COMMAND


@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch: Ultralytics' ONNX exporter
@pytest.mark.parametrize("task", TASKS)
def test_exports_to_onnx(task, trained, boxes, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    shutil.copy(trained[task].yolo.trainer.last, tmp_path / "yolo.pt")
    yolo = plain(tmp_path / "yolo.pt")
    exported = yolo.export(format="onnx", **SMALL)
    assert Path(exported) == tmp_path / "yolo.onnx"
    image = cv2.imread(str(next(boxes[task].parent.rglob("val/0.png"))))
    x = torch.from_numpy(image[None, ..., ::-1] / np.float32(255)).permute(0, 3, 1, 2)
    out = onnxruntime.InferenceSession(exported).run(None, {"images": x.numpy()})[0]
    (result,) = yolo.predict(image, **SMALL)
    if task == "semantic":
        assert (out == np.asarray(result.semantic_mask.data)).all()
    else:
        torch.testing.assert_close(torch.from_numpy(out), outputs(yolo, x)[0], rtol=1e-3, atol=1e-2)


LINES = re.findall(
    r"^python -m psa_seg.yolo (.*)$",
    "".join((ROOT / name).read_text() for name in ("README.md", "docs/yolo.md")),
    re.MULTILINE,
)
KINDS = {"coco8": "detect", "cityscapes8": "semantic", "coco8-pose": "pose"}


def test_the_lines_of_the_docs_name_what_there_is():
    for line in LINES:
        model, data = (re.search(rf"{key}=(\S+)\.yaml", line)[1] for key in ("model", "data"))
        assert (ROOT / f"{re.sub(r'(?<=[0-9])n-', '-', model)}.yaml").is_file()
        assert data in KINDS


@pytest.mark.parametrize("line", [line for line in sorted(set(LINES)) if "-sem-" in line])
def test_a_line_of_the_docs(line, boxes, tmp_path, monkeypatch):
    """On what the tests draw, and small; else word for word."""
    from ultralytics import cfg

    monkeypatch.chdir(ROOT)
    named = re.search(r"data=(\S+)\.yaml", line)
    line = line.replace(named[0], f"data={boxes[KINDS[named[1]]]}")
    small = [f"{key}={value}" for key, value in {**DATA, "project": tmp_path}.items()]
    monkeypatch.setattr(cfg, "ARGV", ["yolo", *line.split(), *small])
    command.main()
    assert place(plain(next(tmp_path.rglob("last.pt"))))[1].init == "identity"


MODEL = "model=configs/yolo/yolo26n-psa.yaml"


def said(capsys, monkeypatch, *arguments):
    """How the command ends: its status, and what it says of a mistake."""
    from ultralytics import cfg

    monkeypatch.setattr(cfg, "ARGV", ["yolo", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=configs/yolo/yolo26q-psa.yaml"], "no model file of Ultralytics: yolo26q.yaml"),
        ([MODEL, "epochs=abc"], "'epochs=abc' is of invalid type"),
        ([MODEL, "device=0"], "Invalid CUDA 'device=0' requested"),
        (["model=README.md"], "model='README.md' should be a *.pt PyTorch model"),
        (["model=none.yaml"], "'none.yaml' does not exist"),
        ([MODEL, "data=none.yaml"], "'none.yaml' does not exist"),
        ([MODEL, "epoch=3"], "'epoch' is not a valid YOLO argument"),
    ],
)
def test_a_mistake_is_one_message(arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    status, err = said(capsys, monkeypatch, "train", *arguments)
    assert status == 2
    assert f"error: {message}" in err
    assert "Traceback" not in err
