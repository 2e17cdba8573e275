# SPDX-License-Identifier: Apache-2.0
"""Train the fusion model with Accelerate, on one device or distributed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from safetensors import SafetensorError
from torch.utils.data import DataLoader

from mrmllm_ros.atomic_files import atomic_file
from mrmllm_ros.environment import expand
from mrmllm_ros.errors import MrmllmError
from mrmllm_ros.model.modeling_mrmllm import MrMllm, MrMllmOutput
from mrmllm_ros.training.collator import TrainingBatch
from mrmllm_ros.training.leg import Leg, UnfinishedError
from mrmllm_ros.training.losses import losses, total
from mrmllm_ros.training.mixture import Batches, dropped_switches
from mrmllm_ros.training.training_settings import WITHOUT_LANGUAGE_MODEL, TrainingSettings

Progress = Callable[[str], None]

CHECKPOINT = "checkpoint"
_STATE = "state.pt"
_FLOOR = 0.05  # final learning rate as a fraction of its peak


class TrainingError(MrmllmError):
    """A training run cannot start or continue."""


@dataclass
class TrainingProgress:
    """Progress of a run.

    Attributes:
        step: Number of completed steps.
        elapsed_s: Seconds of training, including earlier runs that were resumed.
    """

    step: int = 0
    elapsed_s: float = 0.0


class Trainer:
    """Trains the trainable weights of an `MrMllm`.

    The state holds the trainable weights, the optimizer's state and the progress. It is replaced
    atomically, so that an interrupted run leaves the previous state. Random numbers depend only on
    seed and step.
    """

    def __init__(
        self,
        model: MrMllm,
        training: Batches,
        evaluation: Sequence[TrainingBatch],
        settings: TrainingSettings,
        accelerator: Accelerator,
        progress: Progress,
        leg: Leg | None = None,
    ) -> None:
        """Prepare a run, or resume an interrupted one.

        Args:
            model: The model in full precision.
            training: Batches of each step.
            evaluation: Held-out batches.
            settings: All settings.
            accelerator: Devices and processes.
            progress: Called with each line of progress.
            leg: Time of this process; None for a leg that starts now.

        Raises:
            TrainingError: If the folder holds the state of another run.
        """
        self._settings = settings
        self._leg = leg or Leg(settings.leg_minutes)
        self._accelerator = accelerator
        self._print_progress = progress
        self._output = expand(settings.output)
        self._training = training
        self._evaluation = [batch.to(accelerator.device) for batch in evaluation]
        self._model = model
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(
            trained, settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.progress = TrainingProgress()
        self._finite = torch.ones(1, dtype=torch.bool, device=accelerator.device)
        self._optimizer = optimizer
        self._resume()
        self._wrapped, self._optimizer = accelerator.prepare(model, optimizer)

    def run(self) -> Path:
        """Train until the last step or the time limit.

        Returns:
            Folder of the checkpoint.

        Raises:
            TrainingError: If the loss is NaN or infinite, or the run cannot be saved.
            UnfinishedError: If the leg is over before; the state is saved.
        """
        settings, progress = self._settings, self.progress
        loader = DataLoader(
            self._training,
            batch_size=None,
            sampler=range(progress.step, settings.steps),
            num_workers=settings.workers,
        )
        started = time.monotonic() - progress.elapsed_s
        for batches in loader:
            if self._time_is_up():
                break
            step_started_s = self._leg.elapsed_s
            parts = self._step(*batches)
            progress.step += 1
            progress.elapsed_s = self._longest(time.monotonic() - started)
            if progress.step % settings.log_every == 0:
                self._require_finite()
                self._print_progress(
                    self._line({name: float(part) for name, part in parts.items()})
                )
            if progress.step % settings.evaluate_every == 0:
                self.evaluate()
            if progress.step % settings.save_every == 0:
                self._save()
            self._end_leg(self._leg.elapsed_s - step_started_s)
        if progress.step % settings.evaluate_every:
            self.evaluate()
        return self._save()

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Compute losses and exact-match rate (teacher-forced) on the held-out batches."""
        if not self._evaluation:
            return {}
        found: list[dict[str, float]] = []
        for batch in self._evaluation:
            output = self._forward(batch)
            parts = losses(output, batch, self._settings.loss)
            values = {name: float(loss) for name, loss in parts.items()}
            found.append(values | {"exact_answers": exact_answers(output, batch)})
        means = {name: sum(f[name] for f in found) / len(found) for name in found[0]}
        self._print_progress(f"evaluation after {self.progress.step} steps: {_listed(means)}")
        return means

    def _step(
        self, batch: TrainingBatch, perception_batch: TrainingBatch | None
    ) -> dict[str, torch.Tensor]:
        """Train on a batch and a perception batch.

        Returns:
            Losses of both by name.
        """
        settings = self._settings
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate * self._schedule()
            # A resumed state holds the setting of the earlier run.
            group["weight_decay"] = settings.weight_decay
        off = dropped_switches(settings.drop, settings.seed, self.progress.step)
        switches = [name for name in off if name != "perception_prompt"]
        parts: dict[str, torch.Tensor] = {}
        if self._needs_language_model or perception_batch is None:
            with self._model.without(*switches):
                parts = self._backward(batch)
        if perception_batch is not None:
            # Drawn independently of the switches of the other batch.
            off = dropped_switches(
                settings.drop, settings.seed, self.progress.step, perception=True
            )
            with self._model.without(*(name for name in off if name == "query_fusion")):
                losses_alone = self._backward(perception_batch, with_texts=False)
            parts |= {
                f"perception_batch_{name.removeprefix(WITHOUT_LANGUAGE_MODEL)}": value
                for name, value in losses_alone.items()
            }
        self._accelerator.clip_grad_norm_(
            [w for w in self._model.parameters() if w.requires_grad], settings.gradient_norm
        )
        self._optimizer.step()
        self._optimizer.zero_grad()
        return parts

    @property
    def _needs_language_model(self) -> bool:
        """Whether a loss of the texts, or of predictions with the language model, has a weight."""
        return self._settings.loss.language > 0 or self._model.config.head_needs_language_model

    def _backward(self, batch: TrainingBatch, with_texts: bool = True) -> dict[str, torch.Tensor]:
        """Accumulate the gradient of a batch and return its losses."""
        batch = batch.to(self._accelerator.device)
        parts = losses(self._forward(batch, with_texts), batch, self._settings.loss)
        loss = total(parts, self._settings.loss)
        self._finite &= loss.detach().isfinite()
        # A step may leave out every trainable mechanism.
        if loss.requires_grad:
            self._accelerator.backward(loss)
        # As tensors, because reading them from a GPU at every step would stall it.
        return {name: part.detach() for name, part in parts.items()}

    def _require_finite(self) -> None:
        # Checked for all processes, so that they end at the same step.
        if not self._accelerator.gather(self._finite).all():
            raise TrainingError(
                f"loss is NaN or infinite at step {self.progress.step}; lower learning_rate"
            )

    def _forward(self, batch: TrainingBatch, with_texts: bool = True) -> MrMllmOutput:
        with self._accelerator.autocast():
            return self._wrapped(
                batch.frames,
                batch.system_prompt_ids,
                batch.texts if with_texts else None,
                batch.logits_mask,
            )

    def _schedule(self) -> float:
        """Learning rate as a fraction of its peak: linear warm-up, then cosine decay."""
        settings, step = self._settings, self.progress.step
        if step < settings.warmup_steps:
            return (step + 1) / settings.warmup_steps
        cosine = (1 + math.cos(math.pi * min(self._share_done(), 1.0))) / 2
        return _FLOOR + (1 - _FLOOR) * cosine

    def _share_done(self) -> float:
        steps = self.progress.step / self._settings.steps
        limit_s = self._settings.time_limit_minutes * 60
        return max(steps, self.progress.elapsed_s / limit_s) if limit_s else steps

    def _time_is_up(self) -> bool:
        return self._share_done() >= 1

    def _end_leg(self, next_step_s: float) -> None:
        """End the leg if another step, which takes about this time, would exceed it.

        Raises:
            UnfinishedError: If the leg is over; the state is saved.
        """
        step = self.progress.step
        if not self._leg.minutes or self._time_is_up():
            return
        if self._leg.is_over(self._longest(self._leg.elapsed_s + next_step_s)):
            if step % self._settings.save_every:
                self._save()
            raise UnfinishedError(
                f"the leg of {self._leg.minutes:g} minutes is over after step {step} of "
                f"{self._settings.steps}"
            )

    def _longest(self, seconds: float) -> float:
        """Maximum over all processes, so that they end at the same step."""
        if self._accelerator.num_processes == 1:
            return seconds
        own = torch.tensor([seconds], device=self._accelerator.device)
        return float(self._accelerator.gather(own).max())

    def _line(self, parts: dict[str, float]) -> str:
        progress = self.progress
        done = max(self._share_done(), 1e-6)
        left = progress.elapsed_s * (1 - done) / done / 60
        return (
            f"step {progress.step} of {self._settings.steps}, {progress.elapsed_s / 60:.1f} min, "
            f"{left:.0f} min left: {_listed(parts)}"
        )

    def _resume(self) -> None:
        file = self._output / _STATE
        if file.exists():
            try:
                self._load_state(torch.load(file, map_location="cpu", weights_only=True))
            except Exception as error:
                # Damaged files and states of other runs raise different exceptions.
                reason = " ".join(str(error).split())
                raise TrainingError(
                    f"{file} is not the state of this run: {reason}. Set output to another "
                    "folder, or delete the file to start from the beginning"
                ) from error
            self._print_progress(f"resuming after step {self.progress.step} from {file}")
        own = torch.tensor([self.progress.step], device=self._accelerator.device)
        steps = self._accelerator.gather(own)
        if steps.min() != steps.max():
            raise TrainingError(
                f"the processes find states of different steps in {self._output}; set output to a "
                "folder that all machines share"
            )

    def _load_state(self, state: dict[str, Any]) -> None:
        saved, run = state["run"], self._run_identity()
        different = sorted(name for name in {*saved, *run} if saved.get(name) != run.get(name))
        if different:
            values = (f"{n} {saved.get(n)!r} instead of {run.get(n)!r}" for n in different)
            raise ValueError(f"it was trained with {', '.join(values)}")
        self._model.load_state_dict(state["weights"], strict=False)
        self._optimizer.load_state_dict(state["optimizer"])
        self.progress = TrainingProgress(**state["progress"])

    def _run_identity(self) -> dict[str, Any]:
        """Settings that a state must share with the run that resumes it."""
        config, settings = self._model.config, self._settings
        backbones = ("language_model", "visual_encoder", "detector")
        names = [*backbones, *(f"{name}_revision" for name in backbones), "perception_outputs"]
        return {
            "seed": settings.seed,
            "checkpoint": settings.checkpoint,
            **{name: getattr(config, name) for name in names},
            **vars(settings.model),
        }

    def _save(self) -> Path:
        self._require_finite()
        folder = self._output / CHECKPOINT
        if not self._accelerator.is_main_process:
            return folder
        state: dict[str, Any] = {
            "weights": self._model.trained_state(),
            "optimizer": self._optimizer.state_dict(),
            "progress": vars(self.progress),
            "run": self._run_identity(),
        }
        try:
            self._output.mkdir(parents=True, exist_ok=True)
            with atomic_file(self._output / _STATE, durable=True) as written:
                torch.save(state, written)
            write_checkpoint(self._model, folder)
        # PyTorch and safetensors raise these when a disk is full.
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise TrainingError(
                f"cannot save step {self.progress.step} to {self._output}: {reason}. Check the "
                "folder and the free disk space, then run the same command again: it resumes from "
                "the last state"
            ) from error
        self._print_progress(f"saved {folder}, after step {self.progress.step}")
        return folder


def write_checkpoint(model: MrMllm, folder: Path) -> None:
    """Write a checkpoint in half precision; each file is replaced atomically.

    Args:
        model: The model.
        folder: Folder; created if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: w.detach().half().contiguous() for name, w in model.trained_state().items()}
    with TemporaryDirectory(dir=folder) as written:
        model.save_pretrained(written, state_dict=weights)
        for file in ("config.json", "model.safetensors"):
            with atomic_file(folder / file, durable=True) as complete:
                (Path(written) / file).replace(complete)


def exact_answers(output: MrMllmOutput, batch: TrainingBatch) -> float:
    """Exact-match rate of the answers (teacher-forced), 0 to 1.

    Args:
        output: Output of the model.
        batch: Its inputs.
    """
    right = output.logits.argmax(-1) == batch.next_ids  # (W,)
    rows, columns = batch.logits_mask.nonzero(as_tuple=True)
    texts = batch.texts.segment_ids[rows, columns] + rows * (batch.texts.segment_ids.max() + 1)
    _, text = texts.unique(return_inverse=True)
    wrong = torch.zeros(int(text.max()) + 1, device=text.device).index_add(
        0, text, (~right).float()
    )
    return float((wrong == 0).float().mean())


def start(settings: TrainingSettings) -> Accelerator:
    """Choose the devices and set the random seeds.

    Raises:
        TrainingError: If the device does not support the precision, or worker processes cannot
            prepare batches for it.
    """
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    if settings.workers and not on_cpu:
        raise TrainingError(
            "workers: batches are created on the GPU, which worker processes cannot use; set it "
            "to 0"
        )
    precision = _precision(settings.precision, on_cpu)
    set_seed(settings.seed)
    return Accelerator(
        cpu=on_cpu,
        mixed_precision={"bfloat16": "bf16", "float32": "no"}[precision],
        # Mechanisms that a step leaves out get no gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _precision(precision: str, on_cpu: bool) -> str:
    # On a CPU without AMX, a step in bfloat16 takes 1.3 to 1.6 times as long as in float32.
    supported = (
        torch.cpu._is_amx_tile_supported() if on_cpu else torch.cuda.is_bf16_supported(False)
    )
    if precision == "auto":
        return "bfloat16" if supported else "float32"
    if precision == "bfloat16" and not on_cpu and not supported:
        raise TrainingError("precision: this GPU does not support bfloat16; use float32")
    return precision


def _listed(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
