"""What a run remembers beside its weights."""

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from ssmtl.errors import CheckpointError


@dataclass
class Progress:
    """Finished steps, the best validation score so far, and what the last evaluations scored on test splits."""

    step: int = 0
    best: float = -math.inf
    best_step: int = 0
    tested: list[tuple[int, str, dict[str, float]]] = field(default_factory=list)
    """(Step, name of the split, metrics), in the order of the steps."""

    def state(self) -> dict[str, Any]:
        """Return a JSON value."""
        return {
            "step": self.step,
            "best": self.best if math.isfinite(self.best) else None,
            "best_step": self.best_step,
            "tested": [
                [step, split, {name: None if math.isnan(value) else value for name, value in values.items()}]
                for step, split, values in self.tested
            ],
        }

    @staticmethod
    def read(state: dict[str, Any]) -> "Progress":
        """Rebuild from `state`; raises CheckpointError for another shape."""
        try:
            best = -math.inf if state["best"] is None else float(state["best"])
            tested = [
                (int(step), str(split), {k: math.nan if v is None else float(v) for k, v in values.items()})
                for step, split, values in state.get("tested", [])
            ]
            return Progress(int(state["step"]), best, int(state["best_step"]), tested)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint's state {state} is not one of a run ({error}).") from error

    def keep_tests(self, count: int, every: int) -> None:
        """Forget all tests but the last `count`, and the end of a run that went on, unless it is `every` so often."""
        kept = sorted({step for step, _, _ in self.tested if step % every == 0 or step == self.step})[-count:]
        self.tested = [test for test in self.tested if test[0] in kept]

    def medians(self, split: str) -> dict[str, float]:
        """Return the median of each metric over the tests of a split; NaN where one of them is NaN."""
        rows = [values for _, name, values in self.tested if name == split]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        return {
            name: math.nan if any(map(math.isnan, column)) else statistics.median(column)
            for name, column in columns.items()
        }


def is_among_last(done: int, steps: int, every: int, count: int) -> bool:
    """Tell if the evaluation after `done` steps is one of the last `count`: each `every` steps, and after the last."""
    return (steps - 1) // every - (done - 1) // every + 1 <= count
