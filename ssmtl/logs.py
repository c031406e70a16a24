"""What a run says while it works: metrics.jsonl, TensorBoard events, a progress bar. All of it can be read midway."""

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

Values = Mapping[str, float]


class RunLog:
    """Writes one process's log; on other ranks than 0 it does nothing.

    Lines of `metrics.jsonl` hold no times, so that a resumed run leaves the same file as an uninterrupted one.
    """

    def __init__(self, folder: Path, *, step: int, steps: int, active: bool, console: Console) -> None:
        self.folder, self.active, self.console = folder, active, console
        if not active:
            return
        _keep_until(folder / "metrics.jsonl", step)
        self.stream = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
            transient=False,
        )
        self.bar = self.progress.add_task("training", total=steps, completed=step, losses="")

    def __enter__(self) -> Self:
        if self.active:
            self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.active:
            self.progress.stop()
            self.stream.close()
            self.board.close()

    def train(self, step: int, values: Values, lr: float, *, terms: Collection[str]) -> None:
        """Record the values of a finished step, and show the `terms` among them; `step` counts finished steps."""
        if self.active:
            self._write({"phase": "train", "step": step, "lr": lr, **values})
            for name, value in values.items():
                self.board.add_scalar(f"train/{name}", value, step)
            self.board.add_scalar("train/lr", lr, step)
            shown = [f"{name} {values[name]:.3f}" for name in ("loss", *terms)]
            self.progress.update(self.bar, losses=" · ".join(shown))

    def advance(self, step: int) -> None:
        """Move the bar to the number of finished steps."""
        if self.active:
            self.progress.update(self.bar, completed=step)

    def evaluation(self, phase: str, step: int, split: str, values: Values, **notes: str) -> None:
        """Record a split's metrics; `phase` is "validation" or "test"."""
        if self.active:
            self._write({"phase": phase, "step": step, "split": split, **notes, **values})
            for name, value in values.items():
                self.board.add_scalar(f"{phase}/{split}/{name}", value, step)

    def say(self, sentence: str) -> None:
        """Print a line above the bar."""
        if self.active:
            self.progress.console.print(sentence, highlight=False)

    def _write(self, row: dict[str, Any]) -> None:
        clean = {k: (None if isinstance(v, float) and not math.isfinite(v) else v) for k, v in row.items()}
        self.stream.write(json.dumps(clean) + "\n")
        self.stream.flush()


def _keep_until(path: Path, step: int) -> None:
    """Drop lines after `step` and a half-written last one, so that a resumed run writes each line once."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["phase"] != "test" and row["step"] <= step:
            kept.append(line)
    fresh = path.with_name(".metrics.jsonl.new")
    fresh.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    fresh.replace(path)
