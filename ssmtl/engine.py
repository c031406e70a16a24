"""The loop, written once: a recipe goes in, a run folder comes out.

    runs/<recipe>/<time>/
      recipe.json  labels.json  run.json  metrics.jsonl  tensorboard/  pictures/  report.html
      checkpoints/{last,best}/{student,teacher}.safetensors, optimizer.pt, manifest.json

Batches, draws and dropout are functions of (seed, step), so weights, optimizer and a step number are all that resuming
needs: an interrupted run ends with the bits of an uninterrupted one.
"""

import math
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console
from torch import Tensor

from ssmtl.checkpoint import load_optimizer, load_weights, put_weights, save_checkpoint
from ssmtl.errors import CheckpointError, NonFiniteLossError, RecipeError
from ssmtl.evaluate import SplitLoader, draw_pictures, evaluate, geometric_mean, scores_once
from ssmtl.failure import save_failure
from ssmtl.keyed import key
from ssmtl.label_record import LABELS, keep_labels
from ssmtl.loader import OpenSources, open_sources, training_loader
from ssmtl.logs import RunLog
from ssmtl.manifests.leaks import check_leaks
from ssmtl.progress import Progress, is_among_last
from ssmtl.recipe import Recipe
from ssmtl.runs import RunFolder
from ssmtl.streams import StepSampler
from ssmtl.train_step import TrainStep

LOG_EVERY = 10
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Options:
    """How to run, apart from what: nothing here changes the result of one process, except `precision`."""

    devices: int = 1
    accelerator: str = "auto"
    precision: Precision = "32-true"
    workers: int = 1
    quiet: bool = False


def train(recipe: Recipe, run: RunFolder, options: Options, *, resume: bool = False) -> bool:
    """Train a recipe into a run folder and evaluate it; return False when Ctrl-C stopped it early (all is saved).

    Raises SsmtlError subclasses for bad data, a damaged checkpoint, a full disk, or a loss that isn't finite.
    """
    if options.devices < 1:
        raise RecipeError(f"the number of devices must be at least 1, got {options.devices}.")
    if options.workers < 0:
        raise RecipeError(f"the number of workers must be at least 0, got {options.workers}.")
    sources = open_sources(recipe)
    StepSampler(sources.groups(), recipe.seed, 0, 0, world=options.devices)  # refuse before other processes start
    if os.environ.get("LOCAL_RANK", "0") == "0":
        console = Console(stderr=True, quiet=options.quiet)
        keep_labels(run.path / LABELS, recipe, sources.tables, sources.coverage, resume=resume, console=console)
    fabric = _fabric(options)
    return _Trainer(sources, run, options, fabric, resume=resume).run()


def _fabric(options: Options) -> Fabric:
    strategy: Any = DDPStrategy(broadcast_buffers=False) if options.devices > 1 else "auto"
    try:
        fabric = Fabric(
            accelerator=options.accelerator, devices=options.devices, strategy=strategy, precision=options.precision
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise RecipeError(
            f"this machine can't train on {options.devices} device(s) with precision {options.precision}: {error}"
        ) from error
    fabric.launch()
    return fabric


class _Trainer:
    """One process's state while training."""

    def __init__(self, sources: OpenSources, run: RunFolder, options: Options, fabric: Fabric, *, resume: bool) -> None:
        recipe = sources.recipe
        self.recipe, self.sources, self.run_folder, self.options, self.fabric = recipe, sources, run, options, fabric
        self.main = fabric.is_global_zero
        self.console = Console(stderr=True, quiet=options.quiet)
        self.validation = self._split_loaders(recipe.validation)
        self.test = self._split_loaders(recipe.test)
        check_leaks(recipe, sources.tables, [s.table for s in self.validation], [s.table for s in self.test])
        torch.manual_seed(key("weights", recipe.seed))
        self.module = TrainStep(recipe, pretrained=not resume)
        self.progress = Progress()
        self.optimizer = recipe.optimizer.build(self.module.student)
        saved = self._load() if resume else None
        self.wrapped, self.wrapped_optimizer = fabric.setup(self.module, self.optimizer)
        if saved is not None:  # after the parameters moved to their device: the optimizer's state follows them there
            self.optimizer.load_state_dict(saved["optimizer"])
            fabric.strategy.precision.load_state_dict(saved["precision"])
        self.pending: list[tuple[int, dict[str, Tensor]]] = []

    def run(self) -> bool:
        """Train from where the progress stands to the last step, then test."""
        log = RunLog(
            self.run_folder.path,
            step=self.progress.step,
            steps=self.recipe.steps,
            active=self.main,
            console=self.console,
        )
        if self.main:
            kept = {name: getattr(self.options, name) for name in ("devices", "precision", "workers")}
            self.run_folder.working(self._device(), self.recipe.steps, kept)
        with log, _Interrupt() as interrupt:
            if self.progress.step == 0:
                self._save("last")
            finished = self._loop(log, interrupt)
            return finished and self._finish(log, interrupt)

    def _device(self) -> str:
        """Return what the run trains on, for people: the GPU's name or "cpu", and how many processes."""
        device, world = self.fabric.device, self.fabric.world_size
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return name if world == 1 else f"{world} x {name}"

    def _split_loaders(self, splits: tuple[Any, ...]) -> list[SplitLoader]:
        rank, world = self.fabric.global_rank, self.fabric.world_size
        return [SplitLoader(self.recipe, s, rank=rank, world=world, workers=self.options.workers) for s in splits]

    def _loop(self, log: RunLog, interrupt: "_Interrupt") -> bool:
        recipe, batches = self.recipe, self._batches()
        while self.progress.step < recipe.steps:
            step = self.progress.step
            lr = recipe.optimizer.lr * recipe.schedule.at(step, recipe.steps)
            values = self._step(step, lr, batches)
            self.progress.step = done = step + 1
            self._watch(done, values, log, lr)
            log.advance(done)
            if done % recipe.eval_every == 0 or done == recipe.steps:
                self._validate(log)
                self._test_by_the_way(log)
            stopping = self._agreed(interrupt, done)
            if done % recipe.checkpoint_every == 0 or done == recipe.steps or stopping:
                self._save("last")
            if stopping and done < recipe.steps:
                return False
        return True

    def _batches(self) -> Iterator[Any]:
        k = self.recipe.accumulate
        return training_loader(
            self.sources,
            start=self.progress.step * k,
            stop=self.recipe.steps * k,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
            workers=self.options.workers,
            pin=self.fabric.device.type == "cuda",
        )

    def _step(self, step: int, lr: float, batches: Iterator[Any]) -> dict[str, Tensor]:
        """One optimizer step: the mean of complete micro-steps, each with its own global counts."""
        self.module.train()
        found: list[dict[str, Tensor]] = []
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        micro_steps = self.recipe.accumulate
        for micro in range(micro_steps):
            batch = next(batches).to(self.fabric.device, non_blocking=True)
            more = micro < micro_steps - 1
            hold = self.fabric.no_backward_sync(self.wrapped) if more and self.fabric.world_size > 1 else nullcontext()
            with hold:
                loss, terms = self.wrapped(batch, step, micro)
                self.fabric.backward(loss / micro_steps)
            found.append(terms)
        values = {name: self._mean(name, [terms[name] for terms in found]) for name in found[0]}
        if self.fabric.device.type == "cpu":
            self._check([(step + 1, values)])
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(
                self.wrapped, self.wrapped_optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False
            )
        self.wrapped_optimizer.step()
        self.wrapped_optimizer.zero_grad(set_to_none=True)
        self.module.update_teacher(step)
        return values

    def _mean(self, name: str, values: list[Tensor]) -> Tensor:
        """Return the mean over micro-steps; of what is only logged, over those where it is defined."""
        if len(values) == 1:
            return values[0]
        together = torch.stack(values)
        return together.nanmean() if name in self.module.watched else together.mean()

    def _watch(self, done: int, values: dict[str, Tensor], log: RunLog, lr: float) -> None:
        """Look at the numbers now and then only: reading them waits for the device."""
        self.pending.append((done, values))
        due = done % LOG_EVERY == 0 or done == self.recipe.steps or done % self.recipe.eval_every == 0
        if due or done % self.recipe.checkpoint_every == 0:
            self._check(self.pending)
            self.pending = []
        if due:
            numbers = {name: float(value) for name, value in values.items()}
            undefined = {name for name in self.module.watched if math.isnan(numbers[name])}
            defined = {name: value for name, value in numbers.items() if name not in undefined}
            log.train(done, defined, lr, terms=self._terms(numbers))

    def _check(self, recent: list[tuple[int, dict[str, Tensor]]]) -> None:
        """Raise NonFiniteLossError for the first step whose terms aren't finite, with what is needed to look at it."""
        for done, values in recent:
            bad = [name for name in self._terms(values) if not math.isfinite(float(values[name]))]
            if bad:
                folder = self.run_folder.path / f"failed_step_{done - 1:06d}"
                if self.main:
                    numbers = {name: float(value) for name, value in values.items()}
                    save_failure(folder, self.sources, done - 1, numbers, self.module.student)
                raise NonFiniteLossError(
                    f"the term {bad[0]} became {float(values[bad[0]])} at step {done - 1}; its batch and weights are "
                    f"in {folder}, and the last checkpoint is untouched. Start again with a lower learning rate, a "
                    "gradient clip, or precision 32-true."
                )

    def _terms(self, values: Iterable[str]) -> list[str]:
        """Return the names of the loss's terms, among all that a step gives."""
        return [name for name in values if name != "loss" and name not in self.module.watched]

    def _validate(self, log: RunLog) -> None:
        if not self.validation:
            return
        scores: dict[str, float] = {}
        for data in self.validation:
            values = self._score(data)
            log.evaluation("validation", self.progress.step, data.split.name, values, weights=self.recipe.evaluate)
            scores |= values
        score = geometric_mean(self.recipe, scores)
        log.evaluation("validation", self.progress.step, "all", {"geometric_mean": score})
        if score >= self.progress.best:  # of equal ones the latest: a task still at 0 makes all of them 0
            self.progress.best, self.progress.best_step = score, self.progress.step
            self._save("best")

    def _test_by_the_way(self, log: RunLog) -> None:
        """Score the test splits of a run that will report the median over its last evaluations."""
        step, recipe = self.progress.step, self.recipe
        if recipe.test_last == 1 or not is_among_last(step, recipe.steps, recipe.eval_every, recipe.test_last):
            return
        for data in self.test:
            values = self._score(data)
            self.progress.tested.append((step, data.split.name, values))
            self.progress.keep_tests(recipe.test_last, recipe.eval_every)
            log.evaluation("checkpoint_test", step, data.split.name, values, weights=recipe.evaluate)

    def _score(self, data: SplitLoader) -> dict[str, float]:
        model = self.module.student if self.recipe.evaluate == "student" else self.module.teacher
        return evaluate(model, data, self.fabric.device)

    def _finish(self, log: RunLog, interrupt: "_Interrupt") -> bool:
        """Test the selected weights, or sum up earlier tests, and draw; return False when Ctrl-C cut that short."""
        if self.recipe.select == "best" and self.validation:
            folder, _ = self.run_folder.good_checkpoint("best")
            put_weights(self.module.student, load_weights(folder, "student"), folder)
            put_weights(self.module.teacher, load_weights(folder, "teacher"), folder)
        model = self.module.student if self.recipe.evaluate == "student" else self.module.teacher
        several, tests = self.recipe.test_last > 1, len({step for step, _, _ in self.progress.tested})
        chosen = f"median of last {tests}" if several and tests > 1 else self.recipe.select
        notes = {"checkpoint": chosen, "weights": self.recipe.evaluate}
        scores: dict[str, float] = {}
        for data in self.test:
            if self.fabric.world_size == 1 and interrupt.seen:
                return False
            values = self.progress.medians(data.split.name) if several else self._score(data)
            log.evaluation("test", self.progress.step, data.split.name, values, **notes)
            scores |= values
        if len(self.recipe.tasks) > 1 and scores_once(self.recipe.test, self.recipe.tasks):
            score = geometric_mean(self.recipe, scores)
            log.evaluation("test", self.progress.step, "all", {"geometric_mean": score}, **notes)
        for data in self.test or self.validation:
            if self.main:
                draw_pictures(model, data, self.fabric.device, self.run_folder.path / "pictures")
        return True

    def _agreed(self, interrupt: "_Interrupt", done: int) -> bool:
        """Return if every process should stop; several processes ask each other only now and then."""
        if self.fabric.world_size == 1:
            return interrupt.seen
        if done % LOG_EVERY:
            return False
        flag = torch.tensor(float(interrupt.seen), device=self.fabric.device)
        dist.all_reduce(flag)
        return bool(flag.item() > 0)

    def _save(self, name: str) -> None:
        """Write a checkpoint, unless weights aren't finite, which the loss would show only a step later."""
        bad = [name for name, value in self.module.student.named_parameters() if not value.isfinite().all()]
        if bad:
            raise NonFiniteLossError(
                f"the weights {bad[0]} are no longer finite after step {self.progress.step - 1}, so that it was not "
                "saved; the last checkpoint is untouched. Start again with a lower learning rate or a gradient clip."
            )
        problem = self._write(name) if self.main else None
        if not self.fabric.broadcast(problem is None):
            raise problem or CheckpointError("the first process could not write the checkpoint; this one stops too.")

    def _write(self, name: str) -> CheckpointError | None:
        """Write a checkpoint and return what went wrong: every process must hear of it, or the others wait forever."""
        optimizer = {"optimizer": self.optimizer.state_dict(), "precision": self.fabric.strategy.precision.state_dict()}
        try:
            save_checkpoint(
                self.run_folder.checkpoint(name),
                student=self.module.student,
                teacher=self.module.teacher,
                state=self.progress.state(),
                optimizer=optimizer,
            )
        except CheckpointError as error:
            return error
        return None

    def _load(self) -> dict[str, Any]:
        """Load progress and weights, and return the saved optimizer's state."""
        folder, state = self.run_folder.good_checkpoint("last")
        self.progress = Progress.read(state)
        if self.progress.step > self.recipe.steps:
            raise RecipeError(
                f"the run stands at step {self.progress.step}; resume it with at least that many --steps."
            )
        if self.main:
            self.run_folder.replace_recipe(self.recipe)
        put_weights(self.module.student, load_weights(folder, "student"), folder)
        put_weights(self.module.teacher, load_weights(folder, "teacher"), folder)
        return load_optimizer(folder)


class _Interrupt:
    """Turns the first Ctrl-C (or a polite kill) into a flag; the second one interrupts as usual."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> "_Interrupt":
        self.active = threading.current_thread() is threading.main_thread()
        if self.active:
            self.before = {s: signal.signal(s, self._notice) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        if self.active:
            for number, handler in self.before.items():
                signal.signal(number, handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True
