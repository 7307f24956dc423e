"""The commands of docs/predict.md and README's lines on it, word for word, on some photos.

Those on export and sharing are in tests/inference/test_export.py and test_share.py.
"""

import re
import shlex
import shutil
import sys
from importlib import import_module
from pathlib import Path

import cv2
import pytest

from tests.conftest import ROOT
from tests.inference.conftest import checkpoint  # noqa: F401
from tests.inference.test_predict import write_film

PAGE = (ROOT / "docs/predict.md").read_text()
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"```bash\n(python tools/predict.py.*?)```", PAGE + README, re.DOTALL)
SNIPPETS = [
    text
    for text in re.findall(r"```python\n(.*?)```", PAGE + README, re.DOTALL)
    if text.startswith("import psa_seg\n")
]


@pytest.fixture
def _photos(checkpoint, streets, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos/deep").mkdir(parents=True)
    shutil.copy(checkpoint, "iter_700.pth")
    pictures = sorted((streets / "leftImg8bit/val").rglob("*.png"))
    for name, picture in zip(("a.jpg", "b.jpg", "deep/c.png"), pictures, strict=False):
        cv2.imwrite(f"photos/{name}", cv2.imread(str(picture)))
    Path("list.txt").write_text("photos/b.jpg\n")
    write_film(Path("drive.mp4"), "mp4v")


@pytest.mark.usefixtures("_photos")
def test_every_command(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    assert len(COMMANDS) == 2
    for block in COMMANDS:
        for command in block.replace("\\\n", "").splitlines():
            python, tool, *words = shlex.split(command)
            assert (python, tool) == ("python", "tools/predict.py")
            monkeypatch.setattr(sys, "argv", [tool, *words])
            shutil.rmtree("labelled", ignore_errors=True)
            with pytest.raises(SystemExit) as status:
                import_module("predict").main()
            assert status.value.code == 0, capsys.readouterr().err
    assert sorted(p.name for p in Path("labelled/overlay").iterdir()) == ["a.png", "b.png", "deep"]
    names = {path.relative_to("all").as_posix() for path in Path("all").rglob("*.*")}
    assert {"labels/a.png", "gates/deep/c.png", "labels/photos/b.png", "overlay/drive.mp4"} <= names


@pytest.mark.usefixtures("_photos")
@pytest.mark.parametrize("text", SNIPPETS, ids=["page", "README"])
def test_from_python(text):
    names = {}
    exec(compile(text, "predict.md", "exec"), names)
    assert names["result"].labels.shape == (128, 256)
    assert names["result"].overlay().shape[2] == 3


def test_what_it_links_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
