"""mmengine's Runner with a paired start: models that differ in attention begin alike."""

import io
import logging
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import BaseModule, is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner, set_random_seed
from mmseg.registry import DATASETS, MODELS, OPTIMIZERS
from torch import nn
from torch.utils.data import DataLoader

from psa_seg import files, shipped
from psa_seg.checkpoints import names
from psa_seg.checkpoints.reading import load_checkpoint, state_dict
from psa_seg.datasets.loading import NamingDataset
from psa_seg.engine import signals
from psa_seg.engine.distributed import wait_for
from psa_seg.engine.doctor.masks import ignored_id
from psa_seg.engine.explain import explaining
from psa_seg.engine.guard import FiniteHook
from psa_seg.engine.hooks import PaceHook
from psa_seg.engine.loop import ReplayableTrainLoop
from psa_seg.engine.memory import checkpoint_activations, keep_freed
from psa_seg.engine.run import Run
from psa_seg.engine.saving import StopInValidationHook, WholeCheckpointHook
from psa_seg.engine.summary import NOT_COUNTED, screen_size, summarize
from psa_seg.errors import UserError, stop_at
from psa_seg.models.placement import check_found, find, without_attention
from psa_seg.models.segmentors import LeanEncoderDecoder
from psa_seg.registry import name_of

FILE_ONLY = (
    "Hooks will be executed",
    "paramwise_options",
    "Loads checkpoint by",
    '"FileClient" will',
    '"HardDiskBackend" is',
    "The prefix is not set in metric",
    "Distributed training is not used",
    "Exp name",
    "Gradient accumulative may",
    "The model and loaded state dict do not match",  # what starts anew stands on the first screen
)


class PairedRunner(Runner):
    """A Runner whose models share every weight that their plain twin has too.

    Layers draw their start from one stream of random numbers, so an attention in between would
    shift the start of all that follows. Here the layers that the model has in common with its
    twin, the same model without attention, are copied from that twin, which is built right after
    seeding. Comparisons between attentions are paired on it.
    """

    anew: tuple[str, ...] = ()  # tensors that a checkpoint to start from has for other classes
    _train_loop: Any  # their configs until they are built
    _val_loop: Any
    optim_wrapper: Any

    @classmethod
    def from_run(cls, run: Run) -> "PairedRunner":
        """The Runner of a prepared run."""
        runner = cls.from_cfg(run.config)
        runner._load_from, runner._resume = run.checkpoint, run.resumed
        runner.anew = run.anew
        for hook in runner.hooks:
            if isinstance(hook, WholeCheckpointHook):
                hook.passed_over = run.passed_over
        return runner

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """mmengine's, and how long processes wait for each other."""
        wait_for((env_cfg.get("dist_cfg") or {}).get("timeout"))
        super().setup_env(env_cfg)

    def build(self) -> None:
        """Build what training needs of the config, and print a screen that says what is trained.

        Raises:
            UserError: for a loop that does not count images as the config says, or an attention
                that the config does not mention.
        """
        self._train_loop = self.build_train_loop(self._train_loop)
        if not isinstance(self._train_loop, ReplayableTrainLoop):
            raise UserError(
                "train_cfg.type must be 'ReplayableTrainLoop'\n"
                "  why        there, train_dataloader.batch_size counts the images on all GPUs\n"
                f"  do         take {shipped.CONFIGS}/_base_/schedules/sgd_poly.py as a base"
            )
        stop_at(check_found(self.cfg.model, self.bare_model))
        if self.cfg.get("checkpoint_activations"):
            checkpoint_activations(self.bare_model.backbone)
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        if self._val_loop is not None:
            self._val_loop = self.build_val_loop(self._val_loop)
        self.register_hook(PaceHook())
        screen = summarize(self)
        if NOT_COUNTED in screen:
            self._require_forward()
        if self.rank == 0:
            self.logger.info(screen)

    def train(self) -> nn.Module:
        """Train; on a CPU, with the memory of the step before."""
        if not torch.cuda.is_available():
            keep_freed()
        for hook in (FiniteHook(), StopInValidationHook()):
            self.register_hook(hook)
        return super().train()

    def register_hook(self, hook: Hook | dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """A hook; in the place of mmengine's for checkpoints, that which never loses one."""
        if isinstance(hook, dict) and name_of(hook.get("type")) == CheckpointHook.__name__:
            hook = {**hook, "type": WholeCheckpointHook, "by_epoch": False}
        super().register_hook(hook, *args, **kwargs)

    def _require_forward(self) -> None:
        """Look whether what keeps costs from being counted keeps the network from running, too."""
        image = next(self.model.parameters()).new_zeros(1, 3, *screen_size(self.bare_model))
        training = self.model.training
        try:
            with torch.no_grad():
                self.bare_model.eval()(image, mode="tensor")
        except (RuntimeError, IndexError) as error:
            raise UserError(
                f"the parts of the model do not fit each other: {self.cfg.filename}\n"
                f"  {' '.join(str(error).split())[:300]}\n"
                "  do         correct in_channels, or the depth of the backbone that feeds them"
            ) from error
        finally:
            self.model.train(training)

    @property
    def has_trained(self) -> bool:
        """Whether there has been a step; unlike `iter`, this builds nothing."""
        return isinstance(self._train_loop, ReplayableTrainLoop) and self._train_loop.iter > 0

    @property
    def bare_model(self) -> BaseModule:
        """The model, out of what distributes it."""
        return self.model.module if is_model_wrapper(self.model) else self.model

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Lay the weights out, and distribute; over gloo without GPUs, where no SyncBN exists."""
        model = self._laid_out(model)
        if self.distributed and not torch.cuda.is_available():
            self.logger.info("gloo: SyncBN needs GPUs, and is BatchNorm here")
            model = revert_sync_batchnorm(model)
            model_wrapper_cfg = dict(type="MMDistributedDataParallel", device_ids=None)
        return super().wrap_model(model_wrapper_cfg, model)

    def _laid_out(self, model: nn.Module) -> nn.Module:
        if self.cfg.get("channels_last"):
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def build_plain(self) -> nn.Module:
        """The plain twin, to be measured beside the model: its weights are anything."""
        twin = revert_sync_batchnorm(MODELS.build(without_attention(self.cfg.model)))
        return self._laid_out(twin.to(next(self.model.parameters()).device))

    def build_dataloader(self, dataloader: dict[str, Any], *args: Any, **kwargs: Any) -> DataLoader:
        """A loader whose worker processes, if any, live as long as the run, and name files."""
        alive, dataset = dataloader["num_workers"] > 0, dataloader["dataset"]
        if not isinstance(dataset, NamingDataset):
            model = self.cfg.model.get("module", self.cfg.model)  # of test-time augmentation
            dataset = NamingDataset(DATASETS.build(dataset), ignored_id(model))
        changed = {**dataloader, "persistent_workers": alive, "dataset": dataset}
        loader = Runner.build_dataloader(changed, *args, **kwargs)
        loader.worker_init_fn = partial(signals.leave_to_parent, loader.worker_init_fn)
        return loader

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        """The evaluator; a segmentor of ours gives the confidence that it scores."""
        built = super().build_evaluator(evaluator)
        if any("calibration" in getattr(metric, "also", ()) for metric in built.metrics):
            for module in self.model.modules():
                if isinstance(module, LeanEncoderDecoder):
                    module.confident = True
        return built

    def build_optim_wrapper(self, optim_wrapper: dict[str, Any] | OptimWrapper) -> OptimWrapper:
        """The optimizer, which steps after as many passes as the training loop makes."""
        if isinstance(optim_wrapper, dict):
            if "accumulative_counts" in optim_wrapper:
                raise UserError(
                    "optim_wrapper.accumulative_counts follows from train_cfg.micro_batch_size\n"
                    "  do         set train_cfg.micro_batch_size instead"
                )
            kind = optim_wrapper["optimizer"].get("type")
            # mmengine's own error does not name the type.
            if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
                raise KeyError(f"{kind} is not in the optimizer registry")
            passes = self.train_loop.split.accumulated
            optim_wrapper = {**optim_wrapper, "accumulative_counts": passes}
            optim_wrapper |= {"paramwise_cfg": self._placed(optim_wrapper.get("paramwise_cfg"))}
        return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """The schedulers, which must follow the scaling of learning rates in `train`."""
        with explaining(self.cfg):
            return super().build_param_scheduler(scheduler)

    def _placed(self, paramwise: dict[str, Any] | None) -> dict[str, Any] | None:
        """Rates by name, with `attention` for the parameters of all attentions, and no others."""
        keys = dict((paramwise or {}).get("custom_keys") or {})
        if paramwise is None or "attention" not in keys:
            return paramwise
        rates = keys.pop("attention")
        keys |= {f"{name}.": rates for name in find(self.bare_model)}
        return {**paramwise, "custom_keys": keys}

    def _init_model_weights(self) -> None:
        if self._resume:  # the checkpoint has every weight, and files of a start may be gone
            return
        with explaining(self.cfg):
            super()._init_model_weights()
            set_random_seed(self.seed)
            twin = MODELS.build(without_attention(self.cfg.model))
            level = self.logger.level
            self.logger.setLevel(logging.WARNING)  # it loads the same file again
            try:
                twin.init_weights()
            finally:
                self.logger.setLevel(level)
        model = self.bare_model
        _require_pretrained(twin.backbone, model.backbone)
        model.load_state_dict(twin.state_dict(), strict=False)
        for tensor in model.state_dict().values():
            broadcast(tensor)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """A logger whose log file holds all and whose console leaves out what nobody reads."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = _disk_refuses  # type: ignore[method-assign]
            else:
                handler.addFilter(lambda record: not record.getMessage().startswith(FILE_ONLY))
        return logger

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """The weights of a file; what of it does not fit has been told on the first screen."""
        with redirect_stdout(io.StringIO()) as said:
            checkpoint = super().load_checkpoint(*args, **kwargs)
        if said.getvalue().strip():
            self.logger.info(said.getvalue().strip())
        if isinstance(checkpoint.get("meta"), dict):
            checkpoint["meta"].pop("config", None)  # which mmengine's `resume` would run
        return checkpoint

    def dump_config(self) -> None:
        """The config as it is run, in the work directory; never over the user's own file."""
        own = Path(self.cfg.filename)
        path = Path(self.work_dir, own.name)
        if own.resolve() != path.resolve():
            files.write(path, self.cfg.dump())

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """One line instead of the whole config, which lies in the work directory anyway."""
        self.logger.info(f"{self.experiment_name}: seed {self.seed}, work dir {self.work_dir}")


def _disk_refuses(record: logging.LogRecord) -> None:
    """Raise what a log file's write raised: the module `logging` would print it, and go on."""
    raise


def _require_pretrained(plain: BaseModule, attending: BaseModule) -> None:
    """Every tensor of a backbone that is said to be pretrained came from the file.

    Those of its attentions, too, if the file has any.
    """
    init = plain.init_cfg
    if not isinstance(init, dict) or init["type"] != "Pretrained":
        return
    given = state_dict(load_checkpoint(init["checkpoint"]))
    prefix = init["prefix"].rstrip(".") + "." if init.get("prefix") else ""
    given = {name.removeprefix(prefix): tensor for name, tensor in given.items()}
    current = names.current(given, attending.state_dict())
    given = {current[name]: tensor for name, tensor in given.items()}
    inside = tuple(f"{name}." for name in find(attending))
    backbone = attending if any(name.startswith(inside) for name in given) else plain
    missing = [
        name
        for name, tensor in backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")
        and (name not in given or given[name].shape != tensor.shape)
    ]
    if missing:
        raise UserError(
            f"the weights do not fit the backbone: {init['checkpoint']}\n"
            f"  {len(missing)} tensors of {type(backbone).__name__} are missing or of another "
            f"shape, {missing[0]} first\n"
            "  do         give weights of this backbone in model.backbone.init_cfg.checkpoint;\n"
            "             if all its names begin alike, set model.backbone.init_cfg.prefix, too"
        )
