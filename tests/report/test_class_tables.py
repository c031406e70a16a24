"""Metrics of classes, with their mean and spread, by hand."""

import math

import pytest

from ssmtl.report.page import render
from ssmtl.report.records import read_run
from ssmtl.report.tables import split_tables

OVER = "mean ± population SD over classes"
# .2, .4, .9: mean .5, squares of deviations .09 + .01 + .16
SPREAD = math.sqrt(0.26 / 3)


def scored(weights="student", **values):
    named = {name.replace("__", "/"): value for name, value in values.items()}
    return {"phase": "test", "step": 1, "split": "s", "checkpoint": "last", "weights": weights, **named}


def lines_of(make_run, *records):
    (table,) = split_tables(read_run(make_run(records=list(records))))
    return [(line.task, line.metric, *line.ours) for line in table.lines]


def test_the_spread_over_classes_is_that_of_the_population(make_run):
    record = scored(cars__map=0.5, cars__map_50=0.7, cars__ap_car=0.2, cars__ap_bus=0.4, cars__ap_rider=0.9)
    assert lines_of(make_run, record) == [
        ("cars", "mAP", "0.500"),
        ("cars", "mAP 50", "0.700"),
        ("cars", "AP car", "0.200"),
        ("cars", "AP bus", "0.400"),
        ("cars", "AP rider", "0.900"),
        ("cars", f"AP: {OVER}", f"0.500 ± {SPREAD:.3f}"),
    ]
    assert f"{SPREAD:.3f}" == "0.294"


def test_every_task_has_its_own_and_every_column_too(make_run):
    student = scored(cars__ap_car=0.2, cars__ap_bus=0.4, road__miou=0.75, road__iou_sky=1.0, road__iou_pole=0.5)
    teacher = scored("teacher", cars__ap_car=0.4, cars__ap_bus=0.4)
    found = {(task, metric): cells for task, metric, *cells in lines_of(make_run, student, teacher)}
    assert found["cars", f"AP: {OVER}"] == ["0.300 ± 0.100", "0.400 ± 0.000"]
    assert found["road", f"IoU: {OVER}"] == ["0.750 ± 0.250", ""]


def test_classes_without_a_value_are_left_out_of_both(make_run):
    records = [scored(c__ap_car=0.2, c__ap_bus=None, c__ap_van=0.4), scored("teacher", c__ap_car=None, c__ap_bus=None)]
    *_, (_, metric, *cells) = lines_of(make_run, *records)
    assert metric == f"AP: {OVER}"
    assert cells == ["0.300 ± 0.100", "n/a"]


@pytest.mark.parametrize("values", [{"c__ap_car": 0.2}, {"c__iou": 0.2, "c__f1_x": 0.5, "c__f1_y": 0.1}])
def test_one_class_and_other_metrics_have_no_spread(make_run, values):
    assert not any(OVER in metric for _, metric, *_ in lines_of(make_run, scored(**values)))


def test_the_page_shows_it(make_run):
    page = render(read_run(make_run(records=[scored(cars__ap_car=0.2, cars__ap_bus=0.4, cars__ap_rider=0.9)])))
    assert OVER in page
    assert f"0.500 ± {SPREAD:.3f}" in page
