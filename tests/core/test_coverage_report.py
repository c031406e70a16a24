"""What a batch carries: expectations and probabilities by hand, and against the sampler itself."""

from math import comb

import numpy as np
import pytest
from launch import TINY

from ssmtl.budget import LabelBudget
from ssmtl.commands.recipes import load_recipe
from ssmtl.coverage_report import coverage_report, none_drawn
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.loader import open_sources
from ssmtl.recipe import Source
from ssmtl.streams import Explicit, Implicit, StepSampler, draw

RECIPE = load_recipe(TINY)()
FILMS = ChestPhantom(samples=40, canvas=(32, 32))


def partial(streams, diagnosis=20, lungs=4, overlap=2):
    """40 films, of which 20 show a diagnosis, 4 a lung mask and 2 both."""
    return RECIPE.replace(
        sources=(Source("films", FILMS, serves=("diagnosis", "lungs")),),
        budget=LabelBudget(counts=(("diagnosis", diagnosis), ("lungs", lungs)), rule="independent", overlap=overlap),
        streams=streams,
    )


def report_of(recipe):
    return coverage_report(open_sources(recipe))


@pytest.mark.parametrize(
    ("pool", "labeled", "rows", "expected"),
    [
        (4, 1, 2, 1 / 2),  # epochs end where steps end: C(3, 2) / C(4, 2)
        (3, 1, 2, 10 / 27),  # of 3 steps 2 lie in an epoch, 1/3 each; the third takes 1 + 1 rows, (2/3)^2
        (2, 1, 3, 0.0),  # a step that holds an epoch misses nothing
        (3, 1, 4, 1 / 27),  # it takes 1 + 3, 2 + 2 or 3 + 1 rows of two epochs: 0, (1/3)^2 and 0
        (5, 0, 2, 1.0),
        (5, 5, 1, 0.0),
        (73570, 6546, 16, comb(67024, 16) / comb(73570, 16)),  # BDD100K: 22 % of the batches have no mask
    ],
)
def test_the_probability_of_no_labeled_row(pool, labeled, rows, expected):
    assert none_drawn(pool, labeled, rows) == pytest.approx(expected, abs=3e-5)


@pytest.mark.parametrize(
    ("pool", "labeled", "rows"), [(7, 2, 3), (9, 1, 6), (5, 1, 7), (12, 3, 4), (4, 2, 1), (6, 1, 4)]
)
def test_probabilities_agree_with_the_sampler(pool, labeled, rows):
    marked = np.arange(pool) < labeled
    empty = [not marked[draw(pool, rows, step, seed)].any() for seed in range(120) for step in range(pool)]
    chance = none_drawn(pool, labeled, rows)
    assert abs(np.mean(empty) - chance) < 5 * (chance * (1 - chance) / len(empty)) ** 0.5


def test_the_matrix_of_a_partially_labeled_source():
    report = report_of(partial(Implicit(batch=10)))
    (source,) = report.sources
    assert source.images == report.total.images == 40
    assert source.labeled == {"diagnosis": 20, "lungs": 4}
    assert source.hidden == {"diagnosis": 20, "lungs": 36}
    assert (source.every, source.none) == (2, 40 - 22)


def test_sources_answer_only_for_the_tasks_that_they_serve():
    report = report_of(RECIPE)
    films, lungs = report.sources
    assert (films.labeled, films.hidden) == ({"diagnosis": 8}, {"diagnosis": 16})
    assert (lungs.labeled, lungs.hidden) == ({"lungs": 4}, {"lungs": 20})
    assert report.total.labeled == {"diagnosis": 8, "lungs": 4}
    assert (report.total.every, report.total.none) == (0, 48 - 12)


def test_expectations_of_an_implicit_batch():
    report = report_of(partial(Implicit(batch=10)))
    assert report.expected == {"diagnosis": 10 * 20 / 40, "lungs": 10 * 4 / 40}
    assert report.empty["lungs"] == pytest.approx(comb(36, 10) / comb(40, 10))
    assert report.warnings == {}


def test_expectations_of_an_explicit_batch():
    report = report_of(partial(Explicit(labeled=4, unlabeled=6, labeled_if="lungs")))
    labeled, rest = report.shares
    assert (labeled.pool, labeled.rows, rest.pool, rest.rows) == (4, 4, 36, 6)
    assert labeled.expected == {"diagnosis": 4 * 2 / 4, "lungs": 4.0}
    assert rest.expected == {"diagnosis": 6 * 18 / 36, "lungs": 0.0}
    assert report.expected == {"diagnosis": 5.0, "lungs": 4.0}
    assert report.empty == {"diagnosis": 0.0, "lungs": 0.0}  # every batch holds all 4 films with masks, 2 diagnosed


def test_labels_that_a_stream_hides_do_not_count():
    report = report_of(partial(Explicit(labeled=4, unlabeled=6, labeled_if="lungs", use_labels=False)))
    assert report.expected == {"diagnosis": 2.0, "lungs": 4.0}


def test_the_average_is_that_of_the_sampler():
    sources = open_sources(partial(Explicit(labeled=3, unlabeled=7)))
    shown = sources.coverage.visible["lungs"]
    sampler = StepSampler(sources.groups(), 0, 0, 22 * 18)  # whole epochs of both pools, of 22 and 18 films
    carried = np.mean([sum(shown[ref.row] and ref.use_labels for ref in refs) for refs in sampler])
    assert carried == pytest.approx(coverage_report(sources).expected["lungs"])


@pytest.mark.parametrize(
    ("streams", "counts", "says"),
    [
        (Implicit(batch=8), (20, 4), "a batch carries 0.80 labeled rows on average, and 39% of the batches none"),
        (Implicit(batch=10), (40, 4), None),
        (Explicit(labeled=10, unlabeled=10, labeled_if="lungs"), (40, 3), "it has 3 labels, 'diagnosis' 40"),
    ],
)
def test_a_starved_task_is_warned_of(streams, counts, says):
    warnings = report_of(partial(streams, *counts, overlap=min(counts) if max(counts) == 40 else 2)).warnings
    assert set(warnings) == ({"lungs"} if says else set())
    assert says is None or says in warnings["lungs"]
    assert all(sentence.startswith("'lungs' is starved: ") for sentence in warnings.values())
