"""Every kind of bad image and mask is named with its line, and repaired where nothing has to be decided."""

import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from checked import HEIGHT, WIDTH, image, only, pixels, refused, repaired_rows, save, write_manifest
from PIL import Image

LINE = 3
MASKS = {"mask": ["background", "lung"]}


@pytest.fixture
def manifest(tmp_path):
    """Return a function that writes a manifest of a good image and one more."""

    def write(name, header="image", cells=(), classes=None):
        first = [image(tmp_path, 1), *[""] * len(cells)]
        return write_manifest(tmp_path, header, [first, [name, *cells]], classes)

    return write


def sixteen_bit_gray(root):
    levels = pixels(2).astype(np.uint16) * 257
    levels[0, :2] = 0, 65_535
    return save(root, "a.png", levels)


def write_png(path, ihdr, idat):
    """Write a PNG file that Pillow can't write, chunk by chunk."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *ihdr)), (b"IDAT", idat), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def sixteen_bit_color(root):
    row = b"\0" + struct.pack(">H", 300) * WIDTH * 3
    write_png(root / "a.png", (WIDTH, HEIGHT, 16, 2, 0, 0, 0), zlib.compress(row * HEIGHT))
    return "a.png"


def cmyk(root):
    Image.merge("CMYK", [Image.fromarray(pixels(seed)) for seed in range(4)]).save(root / "a.jpg")
    return "a.jpg"


def rgba(root):
    alpha = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    alpha[:, :4] = 0
    return save(root, "a.png", np.dstack([pixels(2)] * 3 + [alpha]))


def turned(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    return save(root, "a.jpg", pixels(2), exif=exif, quality=95)


def webp(root):
    return save(root, "a.webp", np.dstack([pixels(2)] * 3))


REPAIRABLE = [
    (sixteen_bit_gray, "has 16-bit pixels (0..65535 of 0..65535)", "map 0..65535 to 0..255", "L"),
    (sixteen_bit_color, "has 16-bit pixels (mode RGB)", "map 0..65535 to 0..255", "RGB"),
    (cmyk, "(mode CMYK)", "convert it to RGB", "RGB"),
    (rgba, "has transparency (mode RGBA)", "laid over black", "RGB"),
    (turned, "has the EXIF orientation 6 (turned)", "save its pixels upright", "L"),
    (webp, "is not a PNG, JPEG, BMP or GIF image", "convert it", "RGB"),
]


@pytest.mark.parametrize(("damage", "what", "fix", "mode"), REPAIRABLE)
def test_an_image_that_a_copy_can_stand_in_for(tmp_path, manifest, damage, what, fix, mode):
    name = damage(tmp_path)
    before = (tmp_path / name).read_bytes()
    path = manifest(name)
    file, line, said, advice, repair = only(path)
    assert (file, line, repair) == (name, LINE, "picture")
    assert what in said
    assert fix in advice
    copy = tmp_path / repaired_rows(path)[1][0]
    assert copy.is_relative_to(tmp_path / "fixed-files")
    with Image.open(copy) as opened:
        assert opened.mode == mode
        assert opened.size == ((HEIGHT, WIDTH) if damage is turned else (WIDTH, HEIGHT))
    assert (tmp_path / name).read_bytes() == before


def test_the_whole_range_of_16_bits_becomes_8_bits(tmp_path, manifest):
    path = manifest(sixteen_bit_gray(tmp_path))
    copy = np.asarray(Image.open(tmp_path / repaired_rows(path)[1][0]))
    wanted = pixels(2)
    wanted[0, :2] = 0, 255
    assert np.array_equal(copy, wanted)
    assert "16-bit gray, 0..65535 to 0..255" in (tmp_path / "fixed.fixes.csv").read_text()


def test_transparent_pixels_become_black(tmp_path, manifest):
    path = manifest(rgba(tmp_path))
    copy = np.asarray(Image.open(tmp_path / repaired_rows(path)[1][0]))
    assert not copy[:, :4].any()
    assert np.array_equal(copy[:, 4:, 0], pixels(2)[:, 4:])


def test_12_bits_in_16_are_left_to_a_person(tmp_path, manifest):
    levels = pixels(2).astype(np.uint16) * 16
    path = manifest(save(tmp_path, "a.png", levels))
    _, line, what, fix, repair = only(path)
    assert (line, repair) == (LINE, None)
    assert f"({levels.min()}..{levels.max()} of 0..65535)" in what
    assert f"map {levels.min()}..{levels.max()}, or the part of it that matters" in fix


@pytest.mark.parametrize(
    ("header", "cell", "classes"),
    [("image mask", "mask.png", MASKS), ("image boxes", '[{"class": "car", "box": [1, 2, 9, 9]}]', None)],
)
def test_nobody_turns_an_image_that_something_was_drawn_on(tmp_path, manifest, header, cell, classes):
    save(tmp_path, "mask.png", np.eye(HEIGHT, WIDTH, dtype=np.uint8))
    _, _, what, fix, repair = only(manifest(turned(tmp_path), header, [cell], classes))
    assert "EXIF orientation 6" in what
    assert "nobody knows which way its masks or boxes were drawn" in fix
    assert repair is None


def cut(root):
    data = (root / image(root, 2)).read_bytes()
    (root / "a.png").write_bytes(data[: len(data) // 2])


def huge(root):
    """300 megapixels in the header, and next to none behind it."""
    write_png(root / "a.png", (20_000, 15_000, 8, 0, 0, 0, 0), zlib.compress(bytes(1000)))


def animated(root):
    frames = [Image.fromarray(pixels(seed)) for seed in (2, 3)]
    frames[0].save(root / "a.png", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("damage", "what", "fix"),
    [
        (lambda root: (root / "a.png").write_bytes(b""), "is empty (0 bytes)", "fetch it again"),
        (cut, "is damaged or truncated", "fetch it again"),
        (huge, "refused as a decompression bomb", "save it smaller"),
        (animated, "is animated (2 frames)", "save one frame"),
        (lambda root: (root / "a.png").write_text("an image, honestly"), "is not a PNG", "take it out"),
        (lambda root: None, "is missing", "restore the file"),
        (lambda root: os.symlink("a.png", root / "a.png"), "is a link that leads back to itself", "replace it"),
        (lambda root: (root / "a.png").mkdir(), "is no file", "name a file"),
    ],
)
def test_an_image_that_nobody_can_read(tmp_path, manifest, damage, what, fix):
    damage(tmp_path)
    file, line, said, advice, repair = only(manifest("a.png"))
    assert (file, line, repair) == ("a.png", LINE, None)
    assert what in said
    assert fix in advice


def test_300_megapixels_are_never_decoded(tmp_path, manifest):
    huge(tmp_path)
    path = manifest("a.png")
    only(path)
    tracemalloc.start()
    only(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("{outside}/secret.png", "is an absolute path outside of the manifest's folder"),
        ("../secret.png", "leads out of the manifest's folder by '..'"),
        ("link.png", "is a link that leads out of the manifest's folder"),
    ],
)
def test_a_path_that_leads_out_is_refused_until_it_is_allowed(tmp_path, name, what):
    root = tmp_path / "data"
    image(tmp_path, 7, "secret.png")
    root.mkdir()
    (root / "link.png").symlink_to("../secret.png")
    path = write_manifest(root, "image", [[name.format(outside=tmp_path)]])
    _, line, said, fix, _ = only(path)
    assert line == 2
    assert what in said
    assert "--allow-outside" in fix
    assert refused(path, allow_outside=True) == []


def test_a_file_behind_a_protocol_is_fetched_only_when_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image(tmp_path, 7, "far.png")
    path = write_manifest(tmp_path, "image", [[f"file://{tmp_path}/far.png"]])
    _, _, what, fix, _ = only(path)
    assert "nothing is fetched unasked" in what
    assert "--remote" in fix
    assert refused(path, remote=True) == []


@pytest.mark.parametrize("cell", [" images/1.png ", "images\\1.png", "Images/1.PNG"])
def test_a_path_typed_in_another_way_is_found(tmp_path, cell):
    image(tmp_path, 1)
    path = write_manifest(tmp_path, "image", [[cell]])
    _, _, what, fix, repair = only(path)
    assert (what, fix, repair) == ("is missing", "the folder has images/1.png: correct the cell.", "path")
    assert repaired_rows(path) == [["images/1.png"]]


def test_a_path_with_the_folders_own_name_in_front_is_found(tmp_path):
    image(tmp_path, 1)
    cell = f"{tmp_path.name}/images/1.png"
    path = write_manifest(tmp_path, "image", [[cell]])
    file, _, what, fix, repair = only(path)
    assert (file, what, repair) == (cell, "is missing", "path")
    assert "the folder has images/1.png, as paths are relative to the manifest" in fix
    assert repaired_rows(path) == [["images/1.png"]]


def test_a_path_with_another_folder_in_front_is_named_but_left_to_a_person(tmp_path):
    image(tmp_path, 1)
    image(tmp_path, 2, "other/2.png")
    *_, fix, repair = only(write_manifest(tmp_path, "image", [["elsewhere/images/1.png"]]))
    assert repair is None
    assert "the folder has images/1.png" in fix
    assert "the folder has" not in only(write_manifest(tmp_path, "image", [["other/images/1.png"]]))[3]


def mask_manifest(root, *masks, classes=MASKS):
    return write_manifest(root, "image mask", [[image(root, at), name] for at, name in enumerate(masks)], classes)


LUNG = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
LUNG[3:9, 4:12] = 1


@pytest.mark.parametrize(
    ("mask", "what", "fix"),
    [
        (LUNG * 7, "has the value 7, but it has the classes 0 background, 1 lung", "name all of its classes"),
        (LUNG[:10], f"is a mask of {WIDTH}x10 pixels, but its image has {WIDTH}x{HEIGHT}", "the mask of this image"),
        (np.dstack([LUNG * 200, LUNG, LUNG]), "mode RGB", "a colored picture of it doesn't say"),
        (LUNG.astype(np.uint16) * 300, "mode I;16", "use the original map"),
    ],
)
def test_a_mask_that_is_no_map_of_its_classes(tmp_path, mask, what, fix):
    path = mask_manifest(tmp_path, save(tmp_path, "good.png", LUNG), save(tmp_path, "bad.png", mask))
    file, line, said, advice, repair = only(path)
    assert (file, line, repair) == ("bad.png", LINE, None)
    assert what in said.replace("is a mask with the value", "has the value")
    assert fix in advice


@pytest.mark.parametrize("mask", [LUNG.astype(np.uint16), np.dstack([LUNG] * 3), LUNG.astype(np.bool_)])
def test_a_mask_whose_numbers_are_only_stored_unusually_is_repaired(tmp_path, mask):
    path = mask_manifest(tmp_path, save(tmp_path, "good.png", LUNG), save(tmp_path, "bad.png", mask))
    assert only(path)[4] == "mask"
    with Image.open(tmp_path / repaired_rows(path)[1][1]) as copy:
        assert copy.mode == "L"
        assert np.array_equal(np.asarray(copy), LUNG)


def test_masks_of_0_and_255_would_teach_nothing_and_are_repaired(tmp_path):
    names = [save(tmp_path, f"m{at}.png", np.roll(LUNG, at, axis=0) * 255) for at in range(2)]
    path = mask_manifest(tmp_path, *names)
    file, line, what, fix, _ = only(path)
    assert (file, line) == ("own.csv", 0)
    assert "show only 0 background and 255, which means ignored: nothing would be learned" in what
    assert "1 for lung" in fix
    for at, row in enumerate(repaired_rows(path)):
        assert np.array_equal(np.asarray(Image.open(tmp_path / row[1])), np.roll(LUNG, at, axis=0))


def palette_mask(root, name, numbers, colors):
    picture = Image.fromarray(numbers)
    picture.putpalette(sum(colors, ()))
    picture.save(root / name)
    return name


BLACK, RED, GREEN = (0, 0, 0), (255, 0, 0), (0, 255, 0)


def test_a_reordered_palette_is_refused(tmp_path):
    classes = {"mask": ["background", "lung", "heart"]}
    heart = np.where(LUNG, np.uint8(2), np.uint8(0))
    masks = [palette_mask(tmp_path, f"m{at}.png", heart, [BLACK, RED, GREEN]) for at in range(2)]
    masks.append(palette_mask(tmp_path, "swapped.png", LUNG, [BLACK, GREEN]))
    file, line, what, fix, _ = only(mask_manifest(tmp_path, *masks, classes=classes))
    assert (file, line) == ("swapped.png", 4)
    assert "has the color (0, 255, 0) at value 1, but 2 others of 'mask' have it at 2" in what
    assert "reordered its palette" in fix


def test_two_tools_may_paint_a_class_differently(tmp_path):
    masks = [palette_mask(tmp_path, f"m{at}.png", LUNG, [BLACK, color]) for at, color in enumerate((RED, GREEN))]
    assert refused(mask_manifest(tmp_path, *masks)) == []


def test_a_file_that_changed_since_its_hash_was_written(tmp_path):
    path = write_manifest(tmp_path, "image sha256", [[image(tmp_path, 1), "0" * 64]])
    file, line, what, fix, _ = only(path)
    assert (file, line) == ("images/1.png", 2)
    assert "has changed since its sha256 was written (000000000000..., now" in what
    assert "restore the file" in fix
