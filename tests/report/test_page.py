import io
import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest
from PIL import Image

from ssmtl.errors import CheckpointError
from ssmtl.report.page import write_report
from ssmtl.report.pictures import read_galleries

EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Collects tags with their attributes, ids, and the text outside <style>."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.style = [], "", ""
        self._in_style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag):
        self._in_style = False

    def handle_data(self, data):
        if self._in_style:
            self.style += data
        else:
            self.text += " ".join(data.split()) + " "


def test_the_page_shows_the_run_its_numbers_and_the_published_ones(make_run):
    run = make_run()
    path = write_report(run)
    assert path == run / "report.html"
    text = Page(path).text
    for shown in ("0.750", "0.800 ± 0.025", "0.440 ± 0.058", "seed 0", "finished", "2.15.0", "1 h 02 min"):
        assert shown in text
    assert "ssmtl run recipes/multimix_cxr.py --seed 0" in text
    assert "The KL term acts on foreground probabilities." in text
    assert "Pseudo-labels of diagnosis" in text
    assert not list(run.glob(".report*"))


def test_the_page_needs_nothing_but_itself(make_run):
    page = Page(write_report(make_run()))
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "srcset", "href", "xlink:href", "data", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
        assert "url(" not in (attributes.get("style") or "").replace("url(#", "")
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2


def test_links_inside_the_page_lead_somewhere_and_ids_are_unique(make_run):
    page = Page(write_report(make_run()))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"][1:] for tag, attributes in page.tags if tag == "a"]
    assert links
    assert set(links) <= set(ids)


def test_single_checkpoints_have_a_section_only_where_they_were_tested(make_run):
    line = {"phase": "checkpoint_test", "split": "test", "checkpoint": "single", "weights": "teacher"}
    records = [{**line, "step": step, "label/error_pct": 10.0 - step} for step in range(3)]
    text = Page(write_report(make_run(records=records))).text
    assert "Tests of single checkpoints" in text
    assert "none is chosen by it." in text
    assert "This run has neither test nor validation metrics yet." in text
    assert "Tests of single checkpoints" not in Page(write_report(make_run("without"))).text


def test_untrusted_names_are_escaped_everywhere(make_run):
    records = [
        {"phase": "train", "step": 1, f"{EVIL}/coverage": 0.5, f"{EVIL}/supervised": 1.0},
        {"phase": "validation", "step": 1, "split": EVIL, "weights": EVIL, f"{EVIL}/auc": 0.5},
        {"phase": "test", "step": 1, "split": EVIL, "checkpoint": EVIL, "weights": EVIL, f"{EVIL}/{EVIL}": 0.5},
    ]
    info = {
        "name": EVIL,
        "command": EVIL,
        "device": EVIL,
        "status": f'"{EVIL}',
        "started": EVIL,
        "versions": {EVIL: EVIL},
    }
    published = {"paper": EVIL, "method": EVIL, "setting": [[EVIL, EVIL]]}
    run = make_run(recipe={"deviations": [EVIL], "published": published}, info=info, records=records, pictures=False)
    Image.new("RGB", (4, 4)).save(run / "pictures" / '<b>"--<i onload=x>--00.png')
    path = write_report(run)
    assert "<script" not in path.read_text()
    page = Page(path)
    assert page.text.count(EVIL) >= 10
    assert not {tag for tag, _ in page.tags} & {"script", "b", "i"}


def test_every_picture_has_a_text_and_its_pixels(make_run):
    images = [attributes for tag, attributes in Page(write_report(make_run())).tags if tag == "img"]
    assert [image["alt"] for image in images] == [
        "NIH test, image 00, lungs: reference and prediction",
        "NIH test, image 00, diagnosis saliency map",
    ]
    with Image.open(io.BytesIO(b64decode(images[0]["src"].partition(",")[2]))) as picture:
        assert picture.size == (8, 8)
        assert picture.getpixel((3, 3)) == (200, 200, 200)


def test_saliency_maps_have_a_section_of_their_own(make_run):
    text = Page(write_report(make_run())).text
    before, after = text.split("Saliency maps")
    assert "green is the reference, what a person labeled, and red the prediction" in before
    assert "NIH test: diagnosis saliency" in after
    assert "NIH test: lungs" not in after


def test_big_pictures_shrink_many_are_counted_and_damaged_ones_are_named(tmp_path):
    Image.new("RGB", (2048, 1024)).save(tmp_path / "a--lungs--00.png")
    for number in range(14):
        Image.new("L", (4, 4)).save(tmp_path / f"b--lungs--{number:02d}.png")
    (tmp_path / "c--lungs--00.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    Image.new("RGB", (4, 4)).save(tmp_path / "stray.png")
    galleries, problems = read_galleries(tmp_path)
    assert [(gallery.split, len(gallery.pictures), gallery.left_out) for gallery in galleries] == [
        ("a", 1, 0),
        ("b", 12, 2),
        ("c", 0, 0),
    ]
    assert galleries[0].pictures[0][1:3] == (1024, 512)
    assert [gallery.wide for gallery in galleries] == [True, False, False]
    assert len(problems) == 2
    assert problems[0].startswith("stray.png is not named")
    assert re.match(r"c--lungs--00\.png can't be read as a picture", problems[1])


def test_what_a_young_run_lacks_is_said(make_run):
    run = make_run(info={"status": "failed", "finished": None}, recipe={"deviations": []}, records=[], pictures=False)
    (run / "metrics.jsonl").unlink()
    text = Page(write_report(run)).text
    for sentence in (
        "metrics.jsonl is missing",
        "There are no pictures of predictions",
        "This run has neither test nor validation metrics yet.",
        "No training step was logged.",
        "Nothing was logged of pseudo-labels.",
        "The recipe names none.",
        "This run failed",
    ):
        assert sentence in text


def test_other_data_is_said_beside_the_table(make_run):
    published = {
        "paper": "multimix-melba",
        "method": "MultiMix",
        "setting": [["n_cls_labels", 100], ["n_seg_labels", 10]],
    }
    text = Page(write_report(make_run(recipe={"published": published}))).text
    assert text.count("The published numbers are from other data") == 2
    assert "published, on other data" in text


def test_a_page_that_cannot_be_written_leaves_the_old_one(make_run, monkeypatch):
    run = make_run()
    write_report(run)
    before = (run / "report.html").read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ssmtl.report.page.os.replace", full)
    with pytest.raises(CheckpointError, match=r"can't be written .*No space left on device.*free some space"):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert not list(run.glob(".report*"))


def test_the_same_run_gives_the_same_page(make_run):
    run = make_run()
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
