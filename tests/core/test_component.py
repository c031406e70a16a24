"""Component: JSON round trip, positional fields, and errors that name the nearest field."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from ssmtl.component import Component, kinds, plugins, resolve, walk
from ssmtl.errors import RecipeError, nearest
from ssmtl.schedules import Constant, LinearRamp, Schedule, SigmoidRamp, StepDecay


class Pair(Component):
    """Two schedules, by their base class."""

    first: Schedule
    second: Schedule = LinearRamp(0.2)


def test_subclass_fields_survive_a_field_typed_as_the_base():
    pair = Pair(first=StepDecay(8, factor=0.5, floor=0.01))
    dumped = json.loads(json.dumps(pair.model_dump()))
    assert dumped["first"] == {"kind": "StepDecay", "every": 8, "factor": 0.5, "floor": 0.01}
    assert Pair.model_validate(dumped) == pair


def test_infinity_reads_back():
    value = Constant(float("inf"))
    assert Schedule.model_validate(json.loads(json.dumps(value.model_dump()))) == value


def test_a_fresh_process_reads_what_this_one_wrote():
    text = StepDecay(8, factor=0.5).model_dump_json()
    code = f"from ssmtl.schedules import Schedule; print(Schedule.model_validate_json({text!r}).at(16, 20))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(result.stdout) == 0.25


def test_unknown_field_names_the_nearest():
    with pytest.raises(ValidationError, match="StepDecay has no field 'evry'; did you mean 'every'"):
        StepDecay(evry=3)


def test_unknown_field_inside_says_where():
    with pytest.raises(ValidationError) as caught:
        Pair.model_validate({"first": {"kind": "StepDecay", "every": 3, "facter": 1}})
    assert caught.value.errors()[0]["loc"] == ("first",)
    assert "did you mean 'factor'" in str(caught.value)


def test_unknown_kind_names_the_nearest():
    with pytest.raises(ValidationError, match="did you mean 'StepDecay'"):
        Pair.model_validate({"first": {"kind": "StepDecy", "every": 3}})


def test_a_kind_of_another_group_is_refused():
    with pytest.raises(ValidationError, match="Poly is not a Constant"):
        Constant.model_validate({"kind": "Poly"})


def test_replace_validates():
    ramp = SigmoidRamp(0.2)
    assert ramp.replace(warmup=0.3).warmup == 0.3
    with pytest.raises(ValidationError):
        ramp.replace(warmup=7)
    with pytest.raises(ValidationError, match="did you mean 'warmup'"):
        ramp.replace(warmpu=0.1)


def test_components_are_frozen_and_hashable():
    ramp = SigmoidRamp(0.2)
    with pytest.raises(ValidationError):
        ramp.warmup = 0.3
    assert len({ramp, SigmoidRamp(0.2), SigmoidRamp(0.3)}) == 2


def test_positional_fields():
    assert StepDecay(8, 0.5) == StepDecay(every=8, factor=0.5)
    with pytest.raises(TypeError, match="at most 2 positional"):
        StepDecay(8, 0.5, 0.1)
    with pytest.raises(TypeError, match="two values for 'every'"):
        StepDecay(8, every=9)


def test_walk_finds_what_is_inside():
    pair = Pair(first=Constant(2.0))
    assert [part.kind for part in walk((pair,))] == ["Pair", "Constant", "LinearRamp"]


def test_plugins_name_their_distribution():
    assert plugins(StepDecay(3))["schedules/StepDecay"].startswith("ssmtl==")


def test_a_class_that_no_entry_point_offers_is_refused():
    class Constant(Schedule):
        """Hides the built-in of the same name."""

        def at(self, step: int, steps: int) -> float:
            return 0.0

    with pytest.raises(RecipeError, match="hidden by another component"):
        plugins(Constant())


@pytest.mark.parametrize(
    "group", ["tasks", "losses", "strategies", "readers", "encoders", "heads", "models", "schedules", "streams"]
)
def test_every_registered_kind_resolves_to_its_name(group):
    found = kinds(group)
    assert found
    for kind in found:
        assert resolve(group, kind).kind == kind
        assert resolve(group, kind).group == group


def test_nearest_lists_all_when_nothing_is_close():
    assert nearest("zzz", ["a", "b"]) == "; known: a, b."


class Polygon(Component):
    """A component one of whose defaults depends on another field."""

    sides: int = 3
    diagonals: int = 0

    def model_post_init(self, _context, /):
        if "diagonals" not in self.model_fields_set:
            object.__setattr__(self, "diagonals", self.sides * (self.sides - 3) // 2)


def test_replace_works_out_again_what_was_never_given():
    square = Polygon(sides=4)
    assert square.diagonals == 2
    assert square.replace(sides=6).diagonals == 9
    assert square.replace(diagonals=1).replace(sides=6).diagonals == 1
    assert Polygon.model_validate(square.model_dump()) == square
