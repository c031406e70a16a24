import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from old_pickles import pickled, python2_pickle

from ssmtl.datasets.batches_pickle import MOST_BYTES, images_of, read_pickle
from ssmtl.errors import DataError

NUMBERS = ("u1", "<i4", ">i8", "<f8")


def refusal(read: Callable[[], Any]) -> str:
    with pytest.raises(DataError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Callable[..., Any], *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


def test_python_2_wrote_bytes_for_texts(tmp_path: Path) -> None:
    data = np.arange(2 * 5, dtype=np.uint8).reshape(2, 5) + 200
    found = read_pickle(python2_pickle(tmp_path / "batch", {"data": data, "labels": [3, 9], "names": ["a", "b"]}))
    assert found["data"].tolist() == data.tolist()
    assert found["data"].dtype == np.uint8
    assert (found["labels"], found["names"]) == ([3, 9], [b"a", b"b"])
    assert pickle.loads((tmp_path / "batch").read_bytes(), encoding="bytes")[b"data"].tolist() == data.tolist()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=arrays.arrays(st.sampled_from(NUMBERS), arrays.array_shapes(max_dims=3, max_side=4)),
    protocol=st.sampled_from([0, 2, 4, 5]),
    columns_first=st.booleans(),
)
def test_arrays_of_numbers_come_back(tmp_path: Path, array: np.ndarray, protocol: int, columns_first: bool) -> None:
    given_array = np.asfortranarray(array) if columns_first else array
    path = pickled(tmp_path / "batch", {b"data": given_array, "labels": [1, 2]}, protocol)
    found = read_pickle(path)
    assert found["labels"] == [1, 2]
    assert found["data"].dtype == array.dtype
    np.testing.assert_array_equal(found["data"], array)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("depth", ["at the top", "in a list", "as a key"])
def test_no_command_runs(tmp_path: Path, protocol: int, depth: str) -> None:
    victim = tmp_path / "victim"
    call = Calls(os.system, f"touch {victim}")
    value = {"at the top": call, "in a list": {"labels": [[call]]}, "as a key": {call: 1}}[depth]
    path = pickled(tmp_path / "batch", value, protocol)
    message = refusal(lambda: read_pickle(path))
    assert f"asks for '{os.system.__module__}.system', which no batch of images needs" in message
    assert not victim.exists()


@pytest.mark.parametrize("function", [eval, exec, getattr, __import__, np.load, np.fromfile, print])
def test_no_function_is_found(tmp_path: Path, function: Callable[..., Any]) -> None:
    path = pickled(tmp_path / "batch", {"data": Calls(function, "print('ran')")})
    assert "which no batch of images needs" in refusal(lambda: read_pickle(path))


@pytest.mark.parametrize(
    "stream",
    [
        b"ios\nsystem\n.",
        b"(ios\nsystem\n.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02cbuiltins\neval\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02Pname\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.tofile\x93.",
    ],
    ids=[
        "inst",
        "inst with mark",
        "inst with arguments",
        "global",
        "stack global",
        "extension",
        "persistent",
        "dotted",
    ],
)
def test_no_opcode_gets_around_the_list(tmp_path: Path, stream: bytes) -> None:
    (tmp_path / "batch").write_bytes(stream)
    assert "nothing of it was run" in refusal(lambda: read_pickle(tmp_path / "batch"))


@pytest.mark.parametrize("allowed", [b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n"])
def test_what_is_allowed_can_not_be_changed(tmp_path: Path, allowed: bytes) -> None:
    (tmp_path / "batch").write_bytes(b"\x80\x02" + allowed + b"N}(U\x0b__setstate__Nu\x86b.")
    refusal(lambda: read_pickle(tmp_path / "batch"))
    good = pickled(tmp_path / "good", {"data": np.array([7], np.uint8), "raw": b"\xff"}, 2)
    assert read_pickle(good)["data"].tolist() == [7]


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    path = pickled(tmp_path / "batch", {"data": np.array([{}, []], dtype=object)}, 4)
    assert "an array of type 'O8'" in refusal(lambda: read_pickle(path))


@pytest.mark.parametrize(
    "call",
    [
        b"cnumpy._core.numeric\n_frombuffer\n(J\xff\xff\xff\x7fcnumpy\ndtype\n(U\x02u1tR(K\x01tU\x01CtR.",
        b"cnumpy._core.numeric\n_frombuffer\n(C\x01acnumpy\ndtype\n(U\x02u1tR(J\xff\xff\xff\x7ftU\x01CtR.",
    ],
    ids=["a number for bytes", "more than there is"],
)
def test_an_array_never_has_more_than_its_bytes(tmp_path: Path, call: bytes) -> None:
    (tmp_path / "batch").write_bytes(b"\x80\x03" + call)
    assert "nothing of it was run" in refusal(lambda: read_pickle(tmp_path / "batch"))


def test_a_batch_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = python2_pickle(tmp_path / "whole", {"data": np.zeros((1, 6), np.uint8), "labels": [1]}).read_bytes()
    path = tmp_path / "batch"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "fetch the original file again" in refusal(lambda: read_pickle(path))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_text("<!DOCTYPE html><p>404")
    assert "can't be read as a pickle of images" in refusal(lambda: read_pickle(path))
    assert "holds a list, but a dict" in refusal(lambda: read_pickle(pickled(path, [1])))
    assert "holds a dict, but a dict of images" in refusal(lambda: read_pickle(pickled(path, {1: 2})))
    assert "can't be read (No such file" in refusal(lambda: read_pickle(tmp_path / "gone"))


PIXELS = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"data": PIXELS}, "has no entry 'labels' (only 'data')"),
        ({}, "has no entry 'data' (only nothing)"),
        ({"data": PIXELS[:, :-1], "labels": [0, 1]}, "images as uint8 (2, 3071), but uint8 [n, 3072]"),
        ({"data": PIXELS[0], "labels": [0, 1]}, "images as uint8 (3072,), but"),
        ({"data": PIXELS.astype(float), "labels": [0, 1]}, "images as float64 (2, 3072), but"),
        ({"data": [1, 2], "labels": [0, 1]}, "images as list, but"),
        ({"data": PIXELS, "labels": [0]}, "has 2 images, but its 'labels' are no list of as many"),
        ({"data": PIXELS, "labels": [[0], [1, 2]]}, "no list of as many numbers"),
        ({"data": PIXELS, "labels": {"a": 1, "b": 2}}, "no list of as many numbers"),
        ({"data": PIXELS, "labels": 5}, "no list of as many numbers"),
        ({"data": PIXELS, "labels": [0, 10**5000]}, "no list of as many numbers"),
        ({"data": PIXELS, "labels": [0.5, 10**5000]}, "no list of as many numbers"),
        ({"data": PIXELS, "labels": [True, True]}, "has the label True, but"),
        ({"data": PIXELS, "labels": [0, 10]}, "has the label 10, but whole numbers from 0 to 9"),
        ({"data": PIXELS, "labels": [-1, 0]}, "has the label -1, but"),
        ({"data": PIXELS, "labels": [0, 2**70]}, "no list of as many numbers"),
        ({"data": PIXELS, "labels": [0.5, 1]}, "has the label 0.5, but"),
        ({"data": PIXELS, "labels": [b"cat", b"dog"]}, "no list of as many numbers"),
    ],
)
def test_batches_of_another_kind_are_refused(batch: dict[str, Any], expected: str) -> None:
    assert expected in refusal(lambda: images_of(Path("batch"), batch, "labels", 10))


def laughs(times: int) -> list[Any]:
    """Return a list of few bytes that is endless to go through."""
    inner: list[Any] = [1, 2]
    for _ in range(times):
        inner = [inner, inner]
    return inner


@pytest.mark.parametrize("depth", [40, 300])
def test_nested_lists_are_never_unfolded(tmp_path: Path, depth: int) -> None:
    path = pickled(tmp_path / "batch", {"data": PIXELS, "labels": laughs(depth)})
    assert path.stat().st_size < 10_000
    batch = read_pickle(path)
    assert "no list of as many numbers" in refusal(lambda: images_of(path, batch, "labels", 10))
    mixed = {"data": PIXELS, "labels": [0, laughs(depth)]}
    assert "no list of as many numbers" in refusal(lambda: images_of(path, mixed, "labels", 10))


class Typed:
    """Pickles as an array whose type, or order of bytes, is something else."""

    def __init__(self, code: object, order: object = "|") -> None:
        self.code, self.order = code, order

    def __reduce__(self) -> tuple[Any, ...]:
        return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), Kind(self), False, b"\x07")


class Kind:
    """Pickles as a type of numbers."""

    def __init__(self, of: Typed) -> None:
        self.of = of

    def __reduce__(self) -> tuple[Any, ...]:
        return np.dtype, (self.of.code, False, True), (3, self.of.order, None, None, None, -1, -1, 0)


def test_an_array_is_of_plain_numbers(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    assert read_pickle(pickled(path, {"data": Typed("u1")}))["data"].tolist() == [7]
    for typed, expected in (
        (Typed(laughs(40)), "an array of no type"),
        (Typed("O8"), "an array of type 'O8'"),
        (Typed("u1", laughs(40)), "an array without an order of bytes"),
        (Typed("u1", "O,"), "an array without an order of bytes"),
    ):
        pickled(path, {"data": typed})
        assert expected in refusal(lambda: read_pickle(path))


@pytest.mark.parametrize("name", [b"numpy\nndarray", b"numpy._core.numeric\n_frombuffer"])
def test_an_array_that_never_got_its_state_is_empty(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "batch").write_bytes(b"\x80\x02}(U\x04datac" + name + b"\n)\x81U\x06labels]u.")
    batch = read_pickle(tmp_path / "batch")
    assert batch["data"].shape == (0,)
    assert "has images as uint8 (0,), but" in refusal(lambda: images_of(tmp_path / "batch", batch, "labels", 10))


def test_too_large_a_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # a hole, which takes no place
    assert f"it has {2**30 + 1} bytes, more than {2**30}" in refusal(lambda: read_pickle(path))


def test_labels_may_count_from_one() -> None:
    images, labels = images_of(Path("batch"), {"data": PIXELS, "labels": [1, 1000]}, "labels", 1000, first=1)
    assert labels.tolist() == [0, 999]
    assert labels.dtype == np.int32
    assert images.shape == (2, 3, 32, 32)
    assert np.shares_memory(images, PIXELS)
    assert "has the label 0" in refusal(
        lambda: images_of(Path("batch"), {"data": PIXELS, "labels": [0, 1]}, "labels", 1000, first=1)
    )
