"""Steps whose numbers are no numbers: skipped by all processes together, and counted."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from psa_seg.checkpoints.reading import not_finite
from psa_seg.engine import signals
from psa_seg.engine.distributed import largest
from psa_seg.engine.saving import IN_A_ROW, checkpoints
from psa_seg.errors import DivergedError

AT_MOST = 5  # bad steps in a row
BAD_STEPS = "bad_steps"  # of all so far, in the message hub, and so in checkpoints
LEAST_SCALE = 1.0  # of losses: below that, gradients did not overflow for being scaled
REMEDY = (
    "  do         lower the learning rate (optim_wrapper.optimizer.lr), or clip gradients\n"
    "             (optim_wrapper.clip_grad.max_norm=1), and start anew in another --work-dir;\n"
    "             from the weights of a good checkpoint with load_from=..."
)
NONE = "there is no checkpoint that a good step followed"


class Guard:
    """Looks at loss and gradients of a step before the optimizer does.

    Where the loss of a process or a gradient is not finite, no process makes the step, and buffers
    are put back, those of BatchNorm say. Gradients that overflowed under loss scaling are its own
    matter (`AmpOptimWrapper` in float16), a loss that is not finite is not.

    Args:
        runner: whose optimizer wrapper is watched from now on.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner, self.model = runner, runner.model
        self.asked = 0  # the signal that a process has got, 0 for none; known after each step
        self.bad = False  # whether the latest step was left out
        self.losses: list[Tensor] = []  # of this step
        self.good = ""  # the latest checkpoint that a good step followed
        self.lost: list[str] = []  # losses of the bad steps in a row
        self.norms: Sequence[Tensor] = ()  # of each gradient in the last good step, summed up
        self.normed: list[nn.Parameter] = []  # whose they are
        self._looked = False
        self._holders = [module for module in self.model.modules() if module._buffers]
        self._kept: list[Tensor] = []
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):  # several of them, which a model steps by itself
            return
        groups = wrapper.optimizer.param_groups
        self._parameters = [p for group in groups for p in group["params"]]
        self._scaler = getattr(wrapper, "loss_scaler", None)
        wrapper.update_params = self._seeing(wrapper.update_params)
        wrapper.step = self._guarded(wrapper.step)

    def begin(self) -> None:
        """Before the forward pass of a step."""
        buffers = self._buffers()
        if [b.shape for b in buffers] != [k.shape for k in self._kept]:
            self._kept = [torch.empty_like(b) for b in buffers]
        if buffers:
            torch._foreach_copy_(self._kept, buffers)
        self.losses.clear()
        self.asked, self.bad, self._looked = 0, False, False

    def end(self, batch: Mapping[str, Any]) -> None:
        """After a step; where it was bad, put back, tell, and count.

        Args:
            batch: of this process.

        Raises:
            DivergedError: in every process, when it was one too many.
        """
        hub, runner = self.runner.message_hub, self.runner
        known = hub.runtime_info
        if not self._looked:
            self.asked = int(largest([signals.asked()])[0])
        row, number = known.get(IN_A_ROW, 0), runner.iter + 1
        if not self.bad:
            self.good = _last_checkpoint(runner)
            if row:
                hub.update_info(IN_A_ROW, 0)
                self.lost.clear()
            return
        if self._kept:
            torch._foreach_copy_(self._buffers(), self._kept)
        hub.update_info(IN_A_ROW, row + 1)
        hub.update_info(BAD_STEPS, known.get(BAD_STEPS, 0) + 1)
        loss = float(sum(self.losses)) / max(1, len(self.losses))
        self.lost.append(f"{loss:.4g}")
        what = "gradients are not finite" if math.isfinite(loss) else f"loss is {loss:.4g}"
        runner.logger.warning(
            f"step {number} is left out: its {what} ({row + 1} in a row; {AT_MOST} end the run)"
        )
        if row + 1 < AT_MOST:
            return
        files = [sample.img_path for sample in batch.get("data_samples", ())]
        both = all_gather_object((self.lost, files))
        raise DivergedError(
            f"{AT_MOST} steps in a row whose loss or gradients are not finite: the run stops at "
            f"step {number}\n"
            f"  losses     {'; '.join(', '.join(lost) for lost, _ in both)}\n"
            f"  images     {', '.join(path for _, paths in both for path in paths)}\n"
            f"  gradients  {self._largest()}\n"
            f"  last good  {self.good or NONE}\n{REMEDY}"
        )

    def _buffers(self) -> list[Tensor]:
        return [b for module in self._holders for b in module._buffers.values() if b is not None]

    def _seeing(self, update: Callable[..., None]) -> Callable[..., None]:
        def seeing(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            self.losses.append(loss.detach())
            update(loss, *args, **kwargs)

        return seeing

    def _guarded(self, step: Callable[..., None]) -> Callable[..., None]:
        @wraps(step)  # by an attribute of it, schedulers know that it counts its calls
        def guarded(**kwargs: Any) -> None:
            normed = [p for p in self._parameters if p.grad is not None]
            # Sums of magnitudes, for squares overflow: NaN or Inf where one is in it.
            gradients = [p.grad for p in normed]
            halves = any(gradient.element_size() < 4 for gradient in gradients)
            dtype = torch.float32 if halves else None  # whose own sums overflow soon
            norms = torch._foreach_norm(gradients, 1, dtype=dtype) if normed else ()
            wrong = [signals.asked(), _not_finite(self.losses), _not_finite(norms)]
            asked, loss, gradient = largest(wrong)
            self._looked = True
            self.asked, self.bad = int(asked), bool(loss or (gradient and not self._scales()))
            if self.bad:
                return  # the wrapper clears the gradients
            self.norms, self.normed = norms, normed
            step(**kwargs)

        return guarded

    def _scales(self) -> bool:
        """Whether a scaler looks at gradients itself, and can do something about them."""
        return (
            self._scaler is not None
            and self._scaler.is_enabled()
            and self._scaler.get_scale() >= LEAST_SCALE
        )

    def _largest(self) -> str:
        names = {id(p): name for name, p in self.runner.bare_model.named_parameters()}
        found = zip(map(float, self.norms), self.normed, strict=True)
        order = sorted(found, key=lambda pair: -pair[0])[:3]
        named = ", ".join(f"{names.get(id(p), 'one')} {norm:.3g}" for norm, p in order)
        return f"of the largest sums in the last good step: {named or 'there was none'}"


def _not_finite(values: Sequence[Tensor]) -> bool:
    if not values:
        return False
    return not bool(torch.stack([value.float() for value in values]).isfinite().all())


def _last_checkpoint(runner: Runner) -> str:
    hook = checkpoints(runner)
    return str(hook.last_ckpt or "") if hook else ""


class FiniteHook(Hook):
    """Keeps weights that are not finite from being validated, and from being saved."""

    priority = "LOWEST"  # after what others put into a checkpoint

    def before_val(self, runner: Runner) -> None:
        """Look at the weights."""
        module: nn.Module = runner.model
        _require(runner, runner.iter, not_finite(module.state_dict()))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Look at all tensors of a checkpoint."""
        _require(runner, checkpoint["meta"]["iter"], not_finite(checkpoint))


def _require(runner: Runner, step: int, wrong: Sequence[str]) -> None:
    if wrong:
        raise DivergedError(
            f"after step {step}, weights or buffers hold NaN or Inf: the run stops\n"
            f"  because    NaN or Inf in {len(wrong)} of the tensors, {wrong[0]} first\n"
            f"  last good  {_last_checkpoint(runner) or NONE}\n{REMEDY}"
        )
