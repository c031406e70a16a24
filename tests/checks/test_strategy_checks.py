"""Each check of strategies is failed by a broken one, and by nothing else; a good strategy passes all that apply."""

import broken_training  # noqa: F401  # it adds to BROKEN
import pytest
from broken_strategies import BROKEN, Good, Greedy

from ssmtl.checks import ContractError, check_strategy, scene, strategy_checks_for
from ssmtl.checks.scene import TOYS, tasks_for
from ssmtl.checks.strategies import CHECKS
from ssmtl.component import kinds
from ssmtl.errors import RecipeError
from ssmtl.strategies.mixmatch import MixMatch
from ssmtl.strategies.supervised import Supervised

NAMES = {check.name for check in CHECKS}
NOT_FOR_GOOD = {"check_examples_are_true", "check_is_found_by_name"}


def failed(strategy):
    return {result.check for result in check_strategy(strategy, on_fail="record") if not result.ok}


def test_a_good_strategy_passes_all_that_apply():
    results = check_strategy(Good())
    assert {result.check for result in results} == NAMES
    assert {result.check for result in results if result.outcome == "not applicable"} == NOT_FOR_GOOD
    assert all(result.message for result in results if result.outcome == "not applicable")
    assert {check.name for check in strategy_checks_for(Good())} == NAMES - NOT_FOR_GOOD


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_strategy_fails_exactly_what_it_breaks(name, monkeypatch):
    monkeypatch.setattr(scene, "TOYS", TOYS[1:])  # one of them is enough here, and takes half the time
    assert failed(BROKEN[name].strategy()) == BROKEN[name].fails


def test_every_check_has_a_strategy_that_fails_it():
    assert set().union(*(one.fails for one in BROKEN.values())) == NAMES
    assert len(NAMES) == len(CHECKS)


def test_the_first_failure_is_raised_with_its_fix():
    with pytest.raises(ContractError, match=r"Greedy.* fails check_abilities_are_used: .*take it out"):
        check_strategy(Greedy())


def test_expected_failures_are_strict():
    known = {"check_abilities_are_used": "it will use it some day"}
    (expected,) = [r for r in check_strategy(Greedy(), expected_failures=known) if r.outcome == "failed as expected"]
    assert expected.message == "it will use it some day"
    with pytest.raises(ContractError, match="it passed, but was expected to fail"):
        check_strategy(Good(), expected_failures=known)
    with pytest.raises(RecipeError, match="no check; did you mean 'check_abilities_are_used'"):
        check_strategy(Good(), expected_failures={"check_ability_is_used": "why"})


def test_a_strategy_is_tried_on_all_small_tasks_that_fit():
    assert tasks_for(Supervised()) == TOYS
    assert tasks_for(MixMatch()) == TOYS[:1]
    assert tasks_for(BROKEN["Picky"].strategy()) == ()


def test_the_small_tasks_are_no_plugins():
    assert not {toy.kind for toy in TOYS} & set(kinds("tasks"))
