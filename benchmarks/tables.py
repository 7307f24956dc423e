"""Write README's tables and the plots, from results and configs in the repository.

python -m benchmarks.tables
"""

import json
import re
from pathlib import Path

from mmengine.config import Config

from benchmarks import speed
from benchmarks.measure import RESULTS
from psa_seg.engine.config import load_config
from psa_seg.engine.identity import backbone

README = Path(__file__).parents[1] / "README.md"
CONFIGS = Path(__file__).parents[1] / "configs"
MAIN = "psa_deeplabv3plus_cityscapes"


def camvid() -> str:
    """The records of the CamVid pair."""
    paths = sorted(RESULTS.glob("camvid/*.json"))
    lines = [
        "| config | seed | iterations | mIoU | mAcc | aAcc | parameters |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for path in paths:
        run = json.loads(path.read_text())
        figures = " | ".join(f"{run[name]:.2f}" for name in ("mIoU", "mAcc", "aAcc"))
        lines.append(
            f"| `{run['config']}` | {run['seed']} | {run['iterations']} | {figures} "
            f"| {run['parameters'] / 1e6:.2f} M |"
        )
    machine = run["environment"]
    lines += [
        "",
        f"{run['data']}, {run['train_images']} training and {run['val_images']} validation images, "
        f"batch {run['batch_size']}; {machine['processor']}, {machine['device']}, torch "
        f"{machine['packages']['torch']} (`benchmarks/results/camvid/`).",
    ]
    return "\n".join(lines)


def configs() -> str:
    """One row per config with an attention."""
    lines = [
        "| config | model | attention | data | crop | images a step x steps |",
        "|---|---|---|---|---|---|",
    ]
    for path in sorted(CONFIGS.glob("psa_*.py"), key=lambda path: (path.stem != MAIN, path.stem)):
        config = load_config(str(path))
        rows, columns = config.model.data_preprocessor.size
        steps = f"{config.train_dataloader.batch_size} x {config.train_cfg.max_iters // 1000}k"
        cells = (
            backbone(config.model),
            _attention(config),
            config.data_name,
            f"{rows}x{columns}",
            steps,
        )
        lines.append(f"| `{path.stem}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def baseline_of(name: str) -> str:
    """Name of the config that differs from `name` in the attention alone."""
    plain = re.sub("^psa_(sequential_|neck_|backbone_)?", "baseline_", name)
    return plain.replace("identity", "finetune")


def _attention(config: Config) -> str:
    model = config.model
    if "attention" in model.decode_head:
        options = model.decode_head.attention
        named = [f"{key}={value!r}" for key, value in options.items() if key != "type"]
        return ", ".join(["ASPP output", *named])
    if "neck" in model:
        return f"neck, map {', '.join(map(str, model.neck.levels))}"
    return "every bottleneck"


TABLES = {
    "configs": configs,
    "speed on a CPU": speed.cpu,
    "speed on a GPU": speed.gpu,
    "whole networks": speed.models,
    "camvid": camvid,
}


def render(readme: str) -> str:
    """`readme` with what stands between `<!-- table: NAME -->` and `<!-- end -->` made anew."""
    for name, table in TABLES.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
        readme, count = pattern.subn(lambda m: f"{m[1]}{table()}\n{m[2]}", readme)  # noqa: B023
        if count != 1:
            raise SystemExit(f"error: README.md has {count} places for the table {name!r}, not 1")
    return readme


if __name__ == "__main__":
    README.write_text(render(README.read_text()))
    print("wrote", README, *speed.plot())
