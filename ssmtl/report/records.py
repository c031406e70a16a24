"""Reading a run folder: `recipe.json` and `run.json` as values, `metrics.jsonl` as records that survive a crash.

The recipe is read as plain JSON, so that a report needs neither the plugins nor the data of the run.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssmtl.errors import CheckpointError

FORMAT = 1
NOT_METRICS = frozenset({"phase", "step", "split", "weights", "checkpoint"})


class RunInfo(BaseModel):
    """What `run.json` says about how a run was made."""

    model_config = ConfigDict(frozen=True)

    name: str
    command: str
    versions: dict[str, str] = Field(default_factory=dict)
    device: str = "unknown"
    started: str | None = None
    finished: str | None = None
    status: str = "unknown"
    steps: int = 0
    seed: int = 0


class Record(NamedTuple):
    """One line of `metrics.jsonl`: numbers by name, NaN where the line says null."""

    phase: str
    step: int
    split: str
    checkpoint: str
    weights: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """A run folder as read: `recipe` is the dump of its recipe, `records` are in order of their steps.

    `missing` says in sentences what the folder lacks for a full report.
    """

    folder: Path
    recipe: Mapping[str, Any]
    plugins: Mapping[str, str]
    info: RunInfo
    records: tuple[Record, ...]
    missing: tuple[str, ...]

    def phase(self, name: str) -> list[Record]:
        """Return the records of "train", "validation", "checkpoint_test" or "test"."""
        return [record for record in self.records if record.phase == name]


def read_run(folder: Path) -> Run:
    """Read a run folder; raises CheckpointError when it isn't one, or when one of its two JSON files is damaged."""
    data = _json(folder / "recipe.json")
    if data.get("format") != FORMAT or not isinstance(data.get("recipe"), dict):
        raise CheckpointError(
            f"{folder / 'recipe.json'} has format {data.get('format')!r}, expected {FORMAT} with a recipe; "
            "upgrade ssmtl, or restore the file from a copy."
        )
    try:
        info = RunInfo.model_validate(_json(folder / "run.json"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(
            f"{folder / 'run.json'} is damaged: '{place}' {first['msg'].lower()}; restore it from a copy."
        ) from error
    plugins = data.get("plugins")
    records, missing = read_metrics(folder / "metrics.jsonl")
    return Run(folder, data["recipe"], plugins if isinstance(plugins, dict) else {}, info, records, missing)


def read_metrics(path: Path) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """Return the records of a metrics file, ordered by step, and what is wrong with it in sentences.

    A killed run leaves half a line, at the end or, after --resume, in the middle; a resumed one writes some steps
    twice: unreadable lines are left out and counted, and the later of two records of the same thing stands.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return (), (f"{path.name} is missing: there are no metrics and no curves.",)
    except OSError as error:
        raise CheckpointError(f"{path} can't be read ({error}); fix its permissions, or restore a copy.") from error
    records: dict[tuple[str, ...], Record] = {}
    unreadable = 0
    for line in lines:
        if not line.strip():
            continue
        record = _record(line)
        if record is None:
            unreadable += 1
            continue
        identity = (record.phase, str(record.step), record.split, record.checkpoint, record.weights)
        records[identity] = record
    missing = []
    if not records:
        missing.append(f"{path.name} holds no readable record: there are no metrics and no curves.")
    elif unreadable:
        missing.append(f"{unreadable} line(s) of {path.name} can't be read and were left out.")
    return tuple(sorted(records.values(), key=lambda record: record.step)), tuple(missing)


def _record(line: bytes) -> Record | None:
    try:
        data = json.loads(line)
        if not isinstance(data, dict):
            return None
        step = int(data["step"])
        phase, split, checkpoint, weights = (
            str(data.get(name) or "") for name in ("phase", "split", "checkpoint", "weights")
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    values = {name: _number(value) for name, value in data.items() if name not in NOT_METRICS and _is_number(value)}
    return Record(phase, step, split, checkpoint, weights, values)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _number(value: int | float | None) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"{path.parent} is not a run folder: it has no {path.name}. Name the folder that `ssmtl run` wrote."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} can't be read ({error}); restore it from a copy.") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds a {type(data).__name__}, expected a JSON object; restore it from a copy.")
    return data
