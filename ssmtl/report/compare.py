"""Several runs side by side: the same recipe over seeds, one recipe beside another."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from ssmtl.errors import CheckpointError, RecipeError, nearest
from ssmtl.report.records import Record, Run, read_run
from ssmtl.report.tables import PERCENT

PAIRED = "Differences are paired by seed; in brackets, how many seeds are higher than the baseline."

Results = Mapping[tuple[str, str], float]
"""Test metrics of one run by (split, metric)."""


class Comparison(NamedTuple):
    """A table for the terminal, and the same numbers as JSON: null stands for what is not finite or not known."""

    table: Table
    data: dict[str, Any]


class Spread(NamedTuple):
    """Mean and sample standard deviation (ddof 1; none for one value) of a metric over seeds, NaN kept as NaN."""

    values: tuple[float, ...]
    mean: float
    sd: float | None


def compare(runs: Sequence[Path], *, baseline: str | None = None) -> Comparison:
    """Compare tested runs: mean and standard deviation over seeds, per recipe name, split and metric.

    With a `baseline` (a recipe name) every other recipe also gets the differences to it, paired by seed. Raises
    CheckpointError for a folder that isn't a tested run, for a seed that is there twice, and for runs of one name that
    differ in more than the seed; RecipeError for an unknown baseline.
    """
    if not runs:
        raise CheckpointError("no run folder was given, expected at least one; name the folders to compare.")
    groups: dict[str, dict[int, Run]] = {}
    for folder in runs:
        run = read_run(folder)
        _join(groups.setdefault(str(run.recipe.get("name")), {}), run)
    if baseline is not None and baseline not in groups:
        raise RecipeError(f"no run of the baseline '{baseline}' was given{nearest(baseline, groups)}")
    results = {name: {seed: _results(run) for seed, run in seeds.items()} for name, seeds in groups.items()}
    spreads = {name: _spreads(list(seeds.values())) for name, seeds in results.items()}
    paired = {
        name: _differences(seeds, results[baseline])
        for name, seeds in results.items()
        if baseline is not None and name != baseline
    }
    tested = {name: _tested(seeds.values()) for name, seeds in groups.items()}
    data = {
        "baseline": baseline,
        "groups": {
            name: {"seeds": sorted(results[name]), "tested": tested[name], "metrics": _json(group)}
            for name, group in spreads.items()
        },
        "differences": {name: _json(group) for name, group in paired.items()},
    }
    table = _table(spreads, paired, {name: len(seeds) for name, seeds in results.items()})
    table.caption = Text("\n".join([*([PAIRED] if paired else []), *_unlike(tested)])) or None
    return Comparison(table, data)


def spread(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation of at least one value."""
    finite = all(math.isfinite(value) for value in values)
    mean = statistics.fmean(values) if finite else math.nan
    sd = statistics.stdev(values) if finite and len(values) > 1 else None
    return Spread(tuple(values), mean, sd)


def _join(group: dict[int, Run], run: Run) -> None:
    seed = run.info.seed
    if seed in group:
        raise CheckpointError(
            f"{group[seed].folder} and {run.folder} are the same recipe with seed {seed}; leave one out."
        )
    for other in list(group.values())[:1]:
        differing = [field for field in sorted({*other.recipe, *run.recipe}) if _differs(field, other, run)]
        if differing:
            raise CheckpointError(
                f"{other.folder} and {run.folder} are both called '{run.recipe.get('name')}' but differ in "
                f"{', '.join(differing)}; give each variant its own name, or compare runs that only differ in seed."
            )
    group[seed] = run


def _differs(field: str, one: Run, other: Run) -> bool:
    return field != "seed" and bool(_without_seed(one.recipe.get(field)) != _without_seed(other.recipe.get(field)))


def _without_seed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seed(inner) for key, inner in value.items() if key != "seed"}
    return [_without_seed(item) for item in value] if isinstance(value, list) else value


def _results(run: Run) -> Results:
    """Return the metrics of each split's last test; a split tested in several ways is named with each."""
    tests = run.phase("test")
    if not tests:
        raise CheckpointError(
            f"{run.folder} has no test metrics (status: '{run.info.status}'); finish it with --resume."
        )
    ways: dict[str, set[tuple[str, str]]] = {}
    for record in tests:
        ways.setdefault(record.split, set()).add((record.checkpoint, record.weights))
    found: dict[tuple[str, str], float] = {}
    for record in tests:
        several = len(ways[record.split]) > 1
        split = f"{record.split} ({record.checkpoint}, {record.weights})" if several else record.split
        found |= {(split, name): value for name, value in record.values.items()}
    return found


def _tested(runs: Iterable[Run]) -> list[str]:
    """Return whose weights of which checkpoints were tested, as in "median of last 20, teacher"."""
    return list(dict.fromkeys(_way(record) for run in runs for record in run.phase("test")))


def _way(record: Record) -> str:
    return ", ".join(part for part in (record.checkpoint, record.weights) if part)


def _unlike(tested: Mapping[str, list[str]]) -> list[str]:
    """Return a sentence that says so where recipes were tested in different ways."""
    ways = {name: " and ".join(way or "unnamed" for way in found) for name, found in tested.items()}
    if len(set(ways.values())) < 2:
        return []
    return [f"Tested in different ways: {'; '.join(f'{name}: {way}' for name, way in ways.items())}."]


def _spreads(runs: Sequence[Results]) -> dict[tuple[str, str], Spread]:
    """Return the spread of every metric; a run that lacks one counts as not finite, so that no mean hides it."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return {key: spread([run.get(key, math.nan) for run in runs]) for key in keys}


def _differences(ours: Mapping[int, Results], baseline: Mapping[int, Results]) -> dict[tuple[str, str], Spread]:
    return _spreads(
        [
            {key: value - baseline[seed][key] for key, value in ours[seed].items() if key in baseline[seed]}
            for seed in sorted(ours)
            if seed in baseline
        ]
    )


def _json(group: Mapping[tuple[str, str], Spread]) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for (split, metric), found in group.items():
        out.setdefault(split, {})[metric] = {
            "mean": _finite(found.mean),
            "sd": found.sd,
            "n": len(found.values),
            "values": [_finite(value) for value in found.values],
        }
    return out


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _table(
    spreads: Mapping[str, Mapping[tuple[str, str], Spread]],
    paired: Mapping[str, Mapping[tuple[str, str], Spread]],
    counts: Mapping[str, int],
) -> Table:
    table = Table(title="mean ± standard deviation over seeds", title_justify="left", caption_justify="left")
    table.add_column("split")
    table.add_column("metric", overflow="fold")
    for name, count in counts.items():
        table.add_column(Text(f"{name}\nn = {count}"), justify="right", overflow="fold")
    for name in paired:
        table.add_column(Text(f"{name}\nminus baseline"), justify="right", overflow="fold")
    keys = list(dict.fromkeys(key for group in spreads.values() for key in group))
    for index, (split, metric) in enumerate(keys):
        first = index == 0 or keys[index - 1][0] != split
        last = index == len(keys) - 1 or keys[index + 1][0] != split
        key = (split, metric)
        ours = [_cell(group.get(key), metric, signed=False) for group in spreads.values()]
        differences = [_cell(group.get(key), metric, signed=True) for group in paired.values()]
        table.add_row(Text(split if first else ""), Text(metric), *ours, *differences, end_section=last)
    return table


def _cell(found: Spread | None, metric: str, *, signed: bool) -> Text:
    if found is None:
        return Text("")
    if math.isnan(found.mean):
        bad = sum(not math.isfinite(value) for value in found.values)
        return Text(f"n/a ({bad} of {len(found.values)} not finite)")
    digits = 2 if metric.endswith(PERCENT) else 3
    text = f"{found.mean:{'+' if signed else ''}.{digits}f}"
    if found.sd is not None:
        text += f" ± {found.sd:.{digits}f}"
    if signed:
        text += f" ({sum(value > 0 for value in found.values)}/{len(found.values)})"
    return Text(text)
