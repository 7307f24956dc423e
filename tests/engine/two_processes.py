"""What each of several processes does for `test_distributed`: DATA FOLDER."""

import signal
import sys
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.model import revert_sync_batchnorm
from torch.nn.modules.batchnorm import _BatchNorm

from psa_seg.engine import distributed, signals, tool
from psa_seg.engine.runner import PairedRunner
from psa_seg.models.segmentors import LeanEncoderDecoder
from tests.conftest import small
from tests.quick import NO_VALIDATION

CONFIG = "psa_deeplabv3plus_cityscapes"
THREE_AND_FOUR = {
    "train_cfg.max_iters": 2,
    "train_dataloader.batch_size": 4,
    "val_dataloader.dataset.indices": 3,  # images that two processes cannot share evenly
    "test_dataloader.dataset.indices": 4,
}


class ExactRunner(PairedRunner):
    """In float64, with BatchNorm in eval mode."""

    def wrap_model(self, model_wrapper_cfg, model):
        model = revert_sync_batchnorm(model.double())
        for layer in model.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
                layer.train = lambda mode=True, layer=layer: layer
        return super().wrap_model(model_wrapper_cfg, model)


def gradients(data, folder, **options):
    """Of one step on eight images: SGD with a learning rate of 1 leaves them in the weights."""
    options |= {
        "train_cfg.max_iters": 1,
        "train_dataloader.batch_size": 8,
        "optim_wrapper.optimizer": dict(type="SGD", lr=1.0, weight_decay=0.0),
        "model.backbone.zero_init_residual": False,  # or most gradients would be 0
        "model.decode_head.dropout_ratio": 0,
        "model.auxiliary_head.dropout_ratio": 0,
        **NO_VALIDATION,
    }
    runner = ExactRunner.from_cfg(small(CONFIG, data, folder, **options))
    start = {}
    keep = Hook()
    keep.before_train = lambda runner: start.update(weights(runner))
    runner.register_hook(keep)
    runner.train()
    return {name: start[name] - now for name, now in weights(runner).items()}


def weights(runner):
    module = getattr(runner.model, "module", runner.model)
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def counts(runner):
    """Confusion matrices of the validation, and of a test."""
    runner.test()
    evaluators = (runner.val_evaluator, runner.test_evaluator)
    return [evaluator.metrics[0].confusion for evaluator in evaluators]


def training(data, folder, **options):
    """Two steps and a validation: which gradients, weights, statistics, counts."""
    runner = PairedRunner.from_cfg(small(CONFIG, data, folder, **THREE_AND_FOUR, **options))
    seen = {}

    class Look(Hook):
        def before_val_epoch(self, runner):
            seen["statistics"] = {n: b.clone() for n, b in runner.model.module.named_buffers()}

    runner.register_hook(Look())
    step = runner.model.train_step

    def train_step(data, optim_wrapper):
        zero, optim_wrapper.zero_grad = optim_wrapper.zero_grad, lambda **_: None
        log = step(data, optim_wrapper)
        seen["without gradient"] = [
            n for n, p in runner.model.module.named_parameters() if p.grad is None
        ]
        zero()
        optim_wrapper.zero_grad = zero
        return log

    runner.model.train_step = train_step
    runner.train()
    return seen | {"weights": weights(runner), "counts": counts(runner)}


def signalled(data, folder):
    """Of three steps the second is bad in the last process, which is told to end in the third."""
    last = torch.distributed.get_rank() == 1
    options = THREE_AND_FOUR | {"train_cfg.max_iters": 9, "custom_hooks": [], "launcher": "pytorch"}
    runner = PairedRunner.from_cfg(small(CONFIG, data, folder, **options))
    states = []

    class Look(Hook):
        def before_train_iter(self, runner, **_):
            if last and runner.iter == 2:
                signal.raise_signal(signal.SIGTERM)

        def after_train_iter(self, runner, **_):
            state = runner.model.module.state_dict()
            states.append({name: value.clone() for name, value in state.items()})

    runner.register_hook(Look())
    loss = LeanEncoderDecoder.loss

    def spoilt(model, *args):
        found = loss(model, *args)
        found["decode.loss_ce"] *= float("nan") if last and runner.iter == 1 else 1
        return found

    LeanEncoderDecoder.loss = spoilt
    signals.install()
    try:
        runner.train()
    except signals.Interrupted as error:
        return {"states": states, "number": error.number, "done": error.done}
    finally:
        LeanEncoderDecoder.loss = loss


def main():
    data, folder = map(Path, sys.argv[1:])
    distributed.start("pytorch")
    torch.set_num_threads(1)
    found = training(data, folder / "training", launcher="pytorch")
    options = {"train_cfg.micro_batch_size": 2, "launcher": "pytorch"}
    found["gradients"] = gradients(data, folder / "gradients", **options)
    found["signalled"] = signalled(data, folder / "signalled")
    torch.save(found, folder / f"rank{torch.distributed.get_rank()}.pth")


if __name__ == "__main__":
    tool.run(main)
