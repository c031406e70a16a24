"""A strategy is a value that says what it is, and asks for what there is."""

from ssmtl.checks.suite import check, require
from ssmtl.checks.text import check_examples_are_true as check_examples_are_true
from ssmtl.checks.text import undocumented
from ssmtl.checks.value import check_hashes as check_hashes
from ssmtl.checks.value import check_is_found_by_name as check_is_found_by_name
from ssmtl.checks.value import check_pickles as check_pickles
from ssmtl.checks.value import check_survives_json as check_survives_json
from ssmtl.recipe import Views
from ssmtl.strategies.base import Look, Need, Strategy


@check()
def check_has_a_docstring(strategy: Strategy) -> None:
    """The class says what it is."""
    text = type(strategy).__dict__.get("__doc__") or ""
    require(text.strip(), "its class has no docstring; say in one sentence what teaches an unlabeled image.")


@check()
def check_fields_are_documented(strategy: Strategy) -> None:
    """Every field that it adds is explained."""
    silent = undocumented(type(strategy), Strategy)
    require(
        not silent,
        f"nothing explains the field(s) {', '.join(silent)}; put a docstring under each, or name them in the class's.",
    )


@check()
def check_keeps_no_state(strategy: Strategy) -> None:
    """It has fields and nothing else: what lasts from step to step belongs to the engine."""
    private = sorted(type(strategy).__private_attributes__)
    require(not private, f"it keeps private state ({', '.join(private)}); processes and resumed runs would differ.")


@check()
def check_needs_are_well_formed(strategy: Strategy) -> None:
    """What it asks for are needs and looks of views that exist, the same at every call."""
    needs, looks = strategy.needs(), strategy.looks()
    for given, kind, name in ((needs, Need, "needs"), (looks, Look, "looks")):
        good = isinstance(given, frozenset) and all(isinstance(one, kind) for one in given)
        require(good, f"{name}() returned {given!r}; return a frozenset of {kind.__name__}.")
    same = (needs, looks) == (strategy.needs(), strategy.looks())
    require(same, "needs() or looks() change from call to call; make them depend on nothing but the fields.")
    for view in sorted(look.view for look in strategy.sees()):
        known = view.policy in Views.model_fields and view.draw >= 0
        require(known, f"it asks for the view {view}; name the policy 'weak' or 'strong', and count draws from 0.")


@check()
def check_teacher_is_only_asked(strategy: Strategy) -> None:
    """The teacher predicts without gradients and without moving its running statistics."""
    for need in strategy.needs():
        if need.model == "teacher":
            require(not need.grad, f"{need} asks the teacher for gradients, which it never has; set grad=False.")
            require(need.bn != "update", f"{need} moves the teacher's running statistics; set bn='eval' or 'batch'.")
