"""Names in pictures: cut to a length, in Chinese, Japanese or Korean, too, if a font here is."""

from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings, filterwarnings

from matplotlib import rc_context, rcParams
from matplotlib.font_manager import fontManager

LONGEST = 32  # letters of a name
# Of matplotlib's own fonts none has Chinese, Japanese or Korean letters; these do, where installed.
EAST_ASIAN = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)


@contextmanager
def east_asian_letters() -> Iterator[None]:
    """Letters that the usual font lacks are drawn in one that has them, if one is here."""
    here = {font.name for font in fontManager.ttflist}
    more = [name for name in EAST_ASIAN if name in here]
    with rc_context({"font.family": [*rcParams["font.family"], *more]}), catch_warnings():
        filterwarnings("ignore", message="Glyph")  # where none is here
        yield


def shown(text: str) -> str:
    """A name as a picture shows it: of a length that leaves room, and of letters that exist."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
