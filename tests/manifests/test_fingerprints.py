"""Hashes of images: known answers, copies near and others far, and a search that finds what comparing all would."""

import hashlib
import io

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_folder import picture
from PIL import Image

from ssmtl.errors import DataError
from ssmtl.manifests import fingerprints
from ssmtl.manifests.fingerprints import (
    SAME_PICTURE,
    Fingerprints,
    joined,
    near_pairs,
    phash_of,
    same_pictures,
    sha256_of,
    words,
)

NOTHING = np.empty((0, 2), dtype=np.int64)


def hashes(*texts):
    return words(pa.chunked_array([pa.array(texts, pa.string())]))


def distance(one, other):
    a, b = hashes(one, other)
    return int(np.bitwise_count(a ^ b).sum())


@pytest.fixture
def photo():
    """A picture with coarse and fine parts, as photographs have: amplitudes fall with frequency."""
    dice, pixels = np.random.default_rng(0), np.zeros((240, 320, 3))
    for rows in (3, 6, 12, 24, 48, 96):
        part = Image.fromarray(dice.integers(0, 256, (rows, rows * 4 // 3, 3), dtype=np.uint8))
        pixels += np.asarray(part.resize((320, 240), Image.Resampling.BICUBIC)) / rows**0.7
    return Image.fromarray((pixels * (255 / pixels.max())).astype(np.uint8))


def test_sha256_of_known_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_the_perceptual_hash_is_the_one_of_imagehash(photo):
    assert phash_of(photo) == str(imagehash.phash(photo, hash_size=16))
    assert len(phash_of(photo)) == 64


def saved_again(photo):
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=70)
    return Image.open(file)


@pytest.mark.parametrize(
    "copy",
    [
        saved_again,
        lambda photo: photo.resize((160, 120), Image.Resampling.BILINEAR),
        lambda photo: photo.resize((640, 480), Image.Resampling.BICUBIC),
        lambda photo: photo.convert("L"),
    ],
    ids=["jpeg", "half", "double", "gray"],
)
def test_a_copy_is_near(photo, copy):
    assert distance(phash_of(photo), phash_of(copy(photo))) <= SAME_PICTURE


def test_other_pictures_are_far(tmp_path):
    found = [phash_of(Image.open(picture(tmp_path / f"{seed}.png", seed=seed))) for seed in range(20)]
    apart = [distance(a, b) for place, a in enumerate(found) for b in found[:place]]
    assert min(apart) > 3 * SAME_PICTURE


def halves():
    pixels = np.zeros((64, 64), dtype=np.uint8)
    pixels[:, :32] = 200
    return Image.fromarray(pixels)


def faint_noise():
    dice = np.random.default_rng(0)
    return Image.fromarray((128 + dice.integers(-1, 2, (64, 64))).astype(np.uint8))


@pytest.mark.parametrize(
    "plain", [Image.new("L", (50, 50), 7), Image.new("RGB", (9, 5), "red"), halves(), faint_noise()]
)
def test_a_plain_picture_has_no_perceptual_hash(plain):
    """The bits of one would be rounding errors: black would be a copy of white."""
    assert phash_of(plain) == ""


def test_texts_become_words_and_gaps_become_zeros():
    found = hashes("00" * 31 + "01", None, "", "FF" * 32)
    assert found.shape == (4, 4)
    assert found.tobytes() == bytes(31) + b"\x01" + bytes(64) + b"\xff" * 32


@pytest.mark.parametrize("text", ["abc", "g" * 64, "0" * 63, "0" * 65])
def test_a_text_that_is_no_hash_is_refused(text):
    with pytest.raises(DataError, match=r"row 2 has the hash .* 64 hexadecimal digits were expected; empty the cell"):
        hashes("0" * 64, text)


def test_a_table_with_one_column_knows_the_other_as_unknown():
    column = pa.chunked_array([pa.array(["1" * 64, None])])
    assert Fingerprints.of(None, None) is None
    prints = Fingerprints.of(None, column)
    assert not prints.sha256.any()
    assert prints.phash.any(axis=1).tolist() == [True, False]
    assert prints.take(np.array([1])).phash.tolist() == [[0, 0, 0, 0]]


def near_and_far(seed, rows, within):
    """Hashes of which many are near to each other, and some are missing."""
    dice = np.random.default_rng(seed)
    bits = dice.integers(0, 2, (3, 256), dtype=np.uint8)[dice.integers(0, 3, rows)]
    for row in range(rows):
        bits[row, dice.choice(256, dice.integers(0, within + 3), replace=False)] ^= 1
    bits[dice.random(rows) < 0.1] = 0
    return np.packbits(bits, axis=1).view(np.uint64)


@given(seed=st.integers(0, 10_000), within=st.sampled_from([0, 1, 8, 13]))
def test_the_search_finds_what_comparing_all_pairs_finds(seed, within):
    first, second = near_and_far(seed, 12, within), near_and_far(seed, 9, within)
    apart = np.bitwise_count(first[:, None] ^ second[None]).sum(axis=2)
    known = first.any(axis=1)[:, None] & second.any(axis=1)[None]
    expected = np.argwhere((apart <= within) & known)
    found = np.unique(np.concatenate([NOTHING, *near_pairs(first, second, within)]), axis=0)
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_the_search_in_parts_finds_the_same(monkeypatch, chunk):
    monkeypatch.setattr(fingerprints, "_CHUNK", chunk)
    hashed = np.full((7, 4), 3, dtype=np.uint64)
    found = list(near_pairs(hashed, hashed[:4], 0))
    assert np.unique(np.concatenate(found), axis=0).tolist() == [[a, b] for a in range(7) for b in range(4)]
    assert max(map(len, found)) <= chunk + 7


def test_a_chain_of_near_pictures_is_one_picture():
    chain = np.full((5, 4), 1 << 40, dtype=np.uint64)
    chain[1, 0] ^= np.uint64(0b1111_1111)
    chain[2, 0] ^= np.uint64(0b1111_1111_1111_1111)
    chain[3] = 12345
    chain[4] = 0
    groups = same_pictures(Fingerprints(np.zeros_like(chain), chain))
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 3


def test_the_same_bytes_are_one_picture_without_a_perceptual_hash():
    files = hashes("a" * 64, "b" * 64, "a" * 64, None, None)
    groups = same_pictures(Fingerprints(files, np.zeros_like(files)))
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 4


def test_linked_rows_share_a_number():
    numbers = joined(5, [np.array([[0, 3]]), np.array([[3, 4]])])
    assert numbers[0] == numbers[3] == numbers[4]
    assert len(set(numbers.tolist())) == 3
