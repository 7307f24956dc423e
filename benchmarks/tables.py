"""Write tables of README and docs, plots, leaderboard, metafiles, from results and configs here.

python -m benchmarks.tables
"""

import argparse
import itertools
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import mean

import torch
from mmengine.config import Config
from torch import nn

from benchmarks import front, predicting, reliability, speed, words
from benchmarks.measure import RESULTS
from psa_seg import PolarizedSelfAttention, attention
from psa_seg.attention import polarized
from psa_seg.engine.config import load_config
from psa_seg.engine.flops import count_flops
from psa_seg.leaderboard import Board, markdown, metafile, published, read_boards, write
from psa_seg.leaderboard.finding import findings
from psa_seg.leaderboard.model import Model
from psa_seg.leaderboard.paired import compare
from psa_seg.leaderboard.table import mean_of
from psa_seg.models import GlobalContext, NonLocal, SqueezeExcitation
from psa_seg.models.naming import backbone, decoder
from psa_seg.models.placement import attentions, settled
from psa_seg.records import Record
from psa_seg.records.fingerprint import fingerprint

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONFIGS = ROOT / "configs"
MAIN = "psa_deeplabv3plus_cityscapes"
MAP = (1, 256, 64, 128)
SIZE = f"a map of {'x'.join(map(str, MAP))}"


def field() -> str:
    """The attentions that are registered, and what each costs."""
    lines = [
        "| type | what it is | paper | parameters | MFLOPs |",
        "|---|---|---|--:|--:|",
    ]
    ours = [getattr(attention, name) for name in attention.__all__]
    for kind in (*ours, SqueezeExcitation, GlobalContext, NonLocal):
        text = (sys.modules[kind.__module__] if kind in ours else kind).__doc__ or ""
        what = text.partition(", `[B")[0].partition(".")[0]  # shapes are not for here
        paper = re.findall(r"arXiv\s+(\d{4}\.\d{5})", text)[0]
        link = f"[{paper}](https://arxiv.org/abs/{paper})"
        lines.append(f"| `{kind.__name__}` | {what} | {link} | {_costs(kind(MAP[1]))} |")
    return "\n".join([*lines, "", f"For {SIZE}; MFLOPs are those of convolutions and products."])


def forms(told: words.Forms = words.FORMS) -> str:
    """The functions that go by the name of Polarized Self-Attention, side by side."""
    lines = [told.heading, "|---|---|---|--:|--:|--:|"]
    for form, layout in itertools.product(polarized.FORMS, polarized.LAYOUTS):
        torch.manual_seed(0)
        module, x = PolarizedSelfAttention(MAP[1], form, layout), torch.randn(MAP)
        gate = module.gates_of(x).spatial
        assert gate is not None
        least, most = f"{gate.min():.4f}", f"{gate.max():.4f}"
        cells = (*told.rows[form, layout], told.between.format(least, most), _costs(module))
        lines.append(f"| `{form}`, `{layout}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", told.note.format(size="x".join(map(str, MAP)))])


def _costs(module: nn.Module) -> str:
    flops = count_flops(module, MAP)["Global"] / 1e6
    parameters = sum(p.numel() for p in module.parameters())
    return f"{parameters:,} | {flops:,.1f}"


@cache
def boards() -> list[Board]:
    """All records of runs in the repository."""
    return read_boards(str(RESULTS)).boards


def finding() -> str:
    """What is known of each comparison that was settled beforehand, and what not."""
    return "\n".join(f"- {sentence}" for sentence in findings(boards()))


def of_real() -> list[Board]:
    """The boards of real images."""
    return [board for board in boards() if not board.synthetic]


def leaderboard() -> str:
    """The boards of real images, searches after the others; `length` tells what one row does."""
    return markdown([b for b in of_real() if not b.exploratory or len(b.models) > 1])


def precision() -> str:
    """What training in bfloat16 changes: the plain network in both, paired by seed."""
    by_dtype = {model.first.precision: model for model in _plain("precision")}
    fast, full = (by_dtype.get(dtype) for dtype in ("bfloat16", "float32"))
    if not fast or not full or fast.counted.keys() != full.counted.keys():
        return "Its accuracy beside float32's: **not measured yet**."
    found = compare({"": fast.scores()}, full.scores())[""]
    means = (f"{m:.2f} ± {sd:.2f}" for m, sd in (fast.mean_and_sd(), full.mean_and_sd()))
    return (
        f"Accuracy: after {fast.first.max_iterations} steps on {fast.first.data}, with "
        f"{len(found.seeds)} paired seeds, the plain network has {fast.first.score} "
        f"{next(means)} in bfloat16, and {next(means)} in float32: a difference of "
        f"{found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}] points, with its 95 % "
        "interval (`benchmarks/experiments/precision.yaml`)."
    )


def length() -> str:
    """What more steps bring the plain network, and how far apart its seeds are where it stands."""
    lines = []
    for folder in sorted(RESULTS.glob("*_length*")):
        names = {folder.name, folder.name.removesuffix("_length")}  # and where it was settled
        found = [model for name in names if (RESULTS / name).is_dir() for model in _plain(name)]
        models = sorted(found, key=lambda model: model.first.max_iterations)
        about = models[0].first
        number = len(models[0].counted)
        line = f"- {about.data}, {about.optimizer['type']}, {about.score}: {mean_of(models[0])} "
        line += f"after {about.max_iterations} steps ({number} seed{'s' * (number > 1)})"
        for before, model in itertools.pairwise(models):
            earlier = before.scores()
            gains = {s: now - earlier[s] for s, now in model.scores().items() if s in earlier}
            told = ", ".join(f"seed {seed} {gain:+.2f}" for seed, gain in gains.items())
            line += (
                f"; {model.first.max_iterations} instead of {before.first.max_iterations} bring "
            )
            line += f"{mean(gains.values()):+.2f} ({told})"
        lines.append(line + ".")
    return "\n".join(lines)


def _plain(name: str) -> list[Model]:
    """The models without an attention that have records in a folder of results."""
    models = [m for board in read_boards(str(RESULTS / name)).boards for m in board.models.values()]
    return [model for model in models if not model.first.attentions]


def others() -> str:
    """What others measured with Polarized Self-Attention and without it."""
    found = published.attention()
    return "\n".join(
        f"- {row['mIoU']:.2f}: {row['method']} ({row['source']})" for row in found["rows"]
    )


def configs() -> str:
    """One row per config with an attention."""
    lines = [
        "| config | model | attention | data | crop | images a step x steps |",
        "|---|---|---|---|---|---|",
    ]
    for path in sorted(CONFIGS.rglob("psa_*.py"), key=lambda path: (path.stem != MAIN, path.stem)):
        config = load_config(str(path))
        rows, columns = config.model.data_preprocessor.size
        steps = f"{config.train_dataloader.batch_size} x {config.train_cfg.max_iters // 1000}k"
        cells = (
            f"{decoder(config.model)} {backbone(config.model)}",
            _attention(config),
            config.data_name,
            f"{rows}x{columns}",
            steps,
        )
        name = path.relative_to(CONFIGS).with_suffix("")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def baseline_of(name: str) -> str:
    """Name of the config that differs from `name` in the attention alone."""
    plain = re.sub("^psa_(sequential_|neck_|backbone_)?", "baseline_", name)
    return plain.replace("identity", "finetune")


def _attention(config: Config) -> str:
    model = config.model
    ((placement, options),) = attentions(model).items()
    if placement == "neck":
        where = f"neck, map {', '.join(map(str, model.neck.levels))}"
    elif placement == "head":
        where = "ASPP output" if decoder(model) == "DeepLabV3+" else "the head's last map"
    else:
        where = f"every {', '.join(model.backbone.get('blocks', ['residual block']))}"
    named = [f"{key}={value!r}" for key, value in options.items() if key != "type"]
    return ", ".join([where, *named])


DOCS = ROOT / "docs"
PAGES: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"why": front.why, "summary": lambda: front.summary(of_real())},
    DOCS / "zh/README.md": {
        "why in Chinese": lambda: front.why(words.WHY_ZH),
        "summary in Chinese": lambda: front.summary(of_real(), words.SUMMARY_ZH),
    },
    DOCS / "zh/attention.md": {"forms in Chinese": lambda: forms(words.FORMS_ZH)},
    DOCS / "zh/configs.md": {"configs": configs},
    DOCS / "zh/speed.md": {"speed in Chinese": lambda: front.why(words.SPEED_ZH)},
    DOCS / "attention.md": {"forms": forms},
    DOCS / "rivals.md": {"field": field},
    DOCS / "configs.md": {"configs": configs},
    DOCS / "training.md": {"training on a CPU": speed.training, "precision": precision},
    DOCS / "speed.md": {
        "speed on a GPU": speed.gpu,
        "whole networks": speed.models,
        "speed on a CPU": speed.cpu,
        "whole networks on a CPU": partial(speed.models, "cpu"),
        "scoring": speed.scoring,
    },
    DOCS / "results.md": {
        "findings": finding,
        "leaderboard": leaderboard,
        "length": length,
        "others": others,
    },
    DOCS / "predict.md": {
        "prediction": predicting.prediction,
        "tiles": predicting.tiles,
        "int8": predicting.int8,
    },
    DOCS / "reliability.md": {
        "faults": reliability.faults,
        "lost": reliability.lost,
        "guard": reliability.guard,
        "soak": reliability.soak,
    },
}


def render(page: Path) -> str:
    """A page with what stands between `<!-- table: NAME -->` and `<!-- end -->` made anew."""
    text = page.read_text()
    for name, table in PAGES[page].items():
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
        text, count = pattern.subn(lambda m: f"{m[1]}{table()}\n{m[2]}", text)  # noqa: B023
        if count != 1:
            raise SystemExit(f"error: {page} has {count} places for the table {name!r}, not 1")
    return text


@cache
def shipped() -> dict[str, Config]:
    """All config files, with what their models are, by path."""
    paths = sorted(CONFIGS.glob("*.py"))
    found = {f"configs/{path.name}": load_config(str(path)) for path in paths}
    for config in found.values():
        config.model = settled(config.model)
    return found


def trained_by(record: Record) -> str | None:
    """Path of the config file that trains just what `record` is of, if there is one."""
    for path, config in shipped().items():
        config.start = record.start
        if fingerprint(config) == record.config_hash:
            return path
    return None


def metafiles() -> dict[Path, str]:
    """What OpenMMLab's tools read, by where it stands."""
    return {
        CONFIGS / "metafile.yaml": metafile.metafile(boards(), trained_by),
        ROOT / "model-index.yml": metafile.INDEX,
    }


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for each in PAGES:
        each.write_text(render(each))
    for path, text in metafiles().items():
        path.write_text(text)
    page, _ = write(str(RESULTS), str(DOCS / "leaderboard"), pictures=False)
    plots = (front.plot(), *speed.plot(), *reliability.plot())
    print("wrote", *PAGES, *metafiles(), *page, *plots, sep="\n")
