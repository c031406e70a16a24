import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from ssmtl.datasets.holdout import held_out, sample_rows
from ssmtl.errors import DataError

NAMES = ("NORMAL", "PNEUMONIA")


def int32(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def test_every_class_gives_its_rounded_share() -> None:
    held = held_out(0.1, 0, int32([0] * 1341 + [1] * 3875), NAMES)
    assert held[:1341].sum() == 134  # 134.1
    assert held[1341:].sum() == 388  # 387.5: together the 522 of the reference


def test_a_seed_repeats_itself_and_another_differs() -> None:
    strata = int32([0, 1] * 100)
    first = held_out(0.2, 7, strata, NAMES)
    np.testing.assert_array_equal(first, held_out(0.2, 7, strata, NAMES))
    assert (first != held_out(0.2, 8, strata, NAMES)).any()


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), min_size=40, max_size=200),
    st.floats(0.05, 0.5),
    st.integers(0, 2**32),
)
def test_patients_are_never_torn_apart(rows: list[tuple[int, int]], fraction: float, seed: int) -> None:
    patients = np.array([f"p{patient}" for patient, _ in rows], dtype=np.dtypes.StringDType())
    strata = int32([label for _, label in rows])
    try:
        held = held_out(fraction, seed, strata, NAMES, patients)
    except DataError:
        reject()  # a class of hardly any patients, which has its own test
    assert not set(patients[held]) & set(patients[~held])
    for label in set(strata.tolist()):
        assert held[strata == label].any()
        assert (~held)[strata == label].any()


def test_patients_of_several_images_fill_the_share_closely() -> None:
    patients = np.repeat(np.array([f"p{n}" for n in range(300)], dtype=np.dtypes.StringDType()), 3)
    held = held_out(0.1, 0, int32([0] * 450 + [1] * 450), NAMES, patients)
    assert held[:450].sum() == held[450:].sum() == 45


def test_a_share_below_one_patient_takes_the_smallest() -> None:
    patients = np.array(["big"] * 9 + ["small"] * 3, dtype=np.dtypes.StringDType())
    held = held_out(0.1, 0, int32([0] * 12), ("lung",), patients)
    np.testing.assert_array_equal(held, [False] * 9 + [True] * 3)


def test_a_class_of_one_patient_is_refused() -> None:
    patients = np.array(["a", "b", "c", "c"], dtype=np.dtypes.StringDType())
    with pytest.raises(DataError, match=r"'PNEUMONIA' has 2 image\(s\) of too few patients.*set holdout=0"):
        held_out(0.5, 0, int32([0, 0, 1, 1]), NAMES, patients)


def test_sampled_rows_are_ascending_nested_and_named() -> None:
    small, large = sample_rows(1000, 10, "nih", 3), sample_rows(1000, 50, "nih", 3)
    assert set(small.tolist()) < set(large.tolist())
    assert (np.diff(large) > 0).all()
    assert sample_rows(1000, 10, "montgomery", 3).tolist() != small.tolist()
    assert sample_rows(5, 5, "nih", 0).tolist() == [0, 1, 2, 3, 4]
