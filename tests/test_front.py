"""README is short, what it shows is run somewhere, and links lead somewhere, old ones on."""

import json
import re
import shlex

import pytest
import torch

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
CONTRIBUTING = ROOT / ".github/CONTRIBUTING.md"
PAGES = [ROOT / "README.md", CONTRIBUTING, *sorted((ROOT / "docs").rglob("*.md"))]
CHINESE = sorted((ROOT / "docs/zh").glob("*.md"))
BEFORE = (
    *("quick-start", "use-it", "which-of-the-four", "others-checkpoints", "its-rivals"),
    *("your-data", "your-pictures", "train-and-test", "results", "how-it-works", "the-code"),
)


def prose(page):
    """A page without code and comments."""
    return re.sub(r"```.*?```|<!--.*?-->", "", page, flags=re.DOTALL)


def anchors(page):
    """As GitHub makes them of headings, and those that are set by hand."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    texts = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title) for title in titles]
    made = {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}
    return made | set(re.findall(r'<a id="(.*?)">', page))


def commands(page):
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def test_two_screens():
    text = re.sub(r"^\|.*$", "", prose(README), flags=re.MULTILINE)
    assert len(text.split()) <= 1100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text()), target


def test_old_links_lead_on():
    for anchor in set(BEFORE) - {"quick-start", "your-data", "your-pictures", "results"}:
        assert re.search(rf'<a id="{anchor}"></a>(<a id=.*?></a>)*\[', README), anchor
    assert set(BEFORE) <= anchors(README)


def test_what_readme_shows_is_run():
    """By the tests of the pages that show it, too, or of those named here; .ci/run installs."""
    installs, demo, *others = commands(README)[:1], commands(README)[1:3], *commands(README)[3:]
    shown = [words for page in PAGES[1:] for words in commands(page.read_text())]
    assert [words[:2] for words in [*installs, *demo]] == [["pip", "install"]] * 3
    elsewhere = ("iter_700.pth --demo", "mine.py --demo")  # tools/test_tools.py, test_recipes.py
    for words in others:
        assert words in shown or " ".join(words).partition(" --show")[0].endswith(elsewhere), words


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_chinese_pages_have_the_code_of_the_english(page):
    english = ROOT / ("README.md" if page.name == "README.md" else f"docs/{page.name}")
    ours, theirs = (re.findall(r"```.*?```", p.read_text(), re.DOTALL) for p in (page, english))
    assert ours == theirs
    assert theirs or page.name == "speed.md"


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_chinese_and_latin_letters_are_apart(page):
    text = re.sub(r"\]\([^)]*\)", "]", prose(page.read_text()))
    text = re.sub(r"`[^`\n]+`", "`", text)
    assert re.findall(r".?[\u4e00-\u9fff][A-Za-z0-9`]|[A-Za-z0-9`][\u4e00-\u9fff].?", text) == []


def test_the_notebook_has_its_outputs():
    """.ci/run executes it."""
    cells = json.loads((ROOT / "examples/first_look.ipynb").read_text())["cells"]
    outputs = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    assert all(outputs)
    kinds = [output["output_type"] for given in outputs for output in given]
    assert "error" not in kinds
    assert sum("image/png" in o.get("data", {}) for given in outputs for o in given) == 3


def test_the_rival_of_contributing_joins():
    """A class as a whole, in the forty lines that were promised."""
    (text,) = re.findall(r"```python\n(.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    assert len(text.splitlines()) <= 43
    names = {}
    exec(compile(text, "CONTRIBUTING.md", "exec"), names)
    attention, x = names["EfficientChannelAttention"](8), torch.randn(2, 8, 3, 5)
    weight, mean = attention.conv.weight[0, 0], x.mean((2, 3))
    for c in range(8):
        seen = [k for k in range(3) if 0 <= c + k - 1 < 8]
        logit = sum(weight[k] * mean[:, c + k - 1] for k in seen)
        expected = x[:, c] * logit.sigmoid()[:, None, None]
        torch.testing.assert_close(attention(x)[:, c], expected)
