"""Batches that find their size by themselves, and images that are decoded ahead of the model."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ssmtl import predict_batches
from ssmtl.datasets.voc import PascalVOC
from ssmtl.errors import DataError, RecipeError
from ssmtl.predict_batches import BatchSize, Loaded, Unreadable, loaded_ahead, predicted
from ssmtl.prediction_log import Entry

CPU = torch.device("cpu")


def images(count):
    """Return images whose first pixel is their number."""
    pixels = [np.full((1, 8, 8), number, dtype=np.uint8) for number in range(count)]
    return [Loaded(Entry(None, str(n)), None, part, (8, 8)) for n, part in enumerate(pixels)]


def model_for(most, tried):
    """Return a model for at most so many images at a time, which notes how many it got."""

    def model(pixels, rows):
        tried.append(len(pixels))
        if len(pixels) > most:
            raise torch.OutOfMemoryError("too many")
        return dict.fromkeys(rows, pixels[:, 0, 0, :1] * 255)

    return model


def test_a_gpu_tries_more_until_they_do_not_fit_and_never_again():
    tried, size = [], BatchSize(None, gpu=True)

    def answers():
        return [float(out["t"]) for _, out in predicted(model_for(9, tried), images(size.now), ("t",), size, CPU)]

    found = [answers() for _ in range(6)]
    assert tried == [4, 8, 16, 8, 8, 8, 8, 8]
    assert found == [[float(n) for n in range(count)] for count in (4, 8, 16, 8, 8, 8)]


def test_a_gpu_goes_down_to_one_and_then_says_what_to_do():
    tried, size = [], BatchSize(None, gpu=True)
    assert len(list(predicted(model_for(1, tried), images(4), ("t",), size, CPU))) == 4
    assert tried == [4, 2, 1, 1, 1, 1]
    with pytest.raises(RecipeError, match="too little memory to predict 1 image"):
        list(predicted(model_for(0, tried), images(1), ("t",), size, CPU))


def test_a_size_that_was_asked_for_is_kept_and_refused_when_it_does_not_fit():
    tried, size = [], BatchSize(6, gpu=True)
    list(predicted(model_for(6, tried), images(6), ("t",), size, CPU))
    assert (tried, size.now) == ([6], 6)
    with pytest.raises(RecipeError, match="give a smaller --batch-size, or --batch-size auto"):
        list(predicted(model_for(5, tried), images(6), ("t",), size, CPU))


def test_a_cpu_takes_the_same_number_always_and_nobody_less_than_one():
    size = BatchSize(None, gpu=False)
    list(predicted(model_for(99, []), images(size.now), ("t",), size, CPU))
    assert size.now == predict_batches.ON_CPU
    with pytest.raises(DataError, match="give 1 or more, or auto"):
        BatchSize(0, gpu=False)


def test_images_come_in_order_decoded_ahead_in_other_threads(tmp_path, monkeypatch):
    entries = [Entry(tmp_path / f"{n}.png", f"{n}") for n in range(30)]
    for number, entry in enumerate(entries):
        Image.new("L", (8, 8), number).save(entry.path)
    entries[5].path.write_bytes(b"")
    started, real = [], predict_batches.load

    def load(entry, reader):
        started.append((entry.stem, threading.current_thread()))
        return real(entry, reader)

    monkeypatch.setattr(predict_batches, "load", load)
    stream = loaded_ahead(entries, PascalVOC(root=tmp_path, canvas=(8, 8), channels=1))
    first = next(stream)
    assert first.pixels.max() == 0
    rest = list(stream)
    assert [one.entry.stem for one in (first, *rest)] == [entry.stem for entry in entries]
    assert isinstance(rest[4], Unreadable)
    assert "0 bytes" in rest[4].reason
    assert [int(one.pixels[0, 0, 0]) for one in rest if isinstance(one, Loaded)] == [1, 2, 3, 4, *range(6, 30)]
    assert threading.main_thread() not in {thread for _, thread in started}
    assert len(started) == 30


def test_no_more_than_a_few_are_decoded_ahead(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(predict_batches, "load", lambda entry, reader: started.append(entry) or entry)
    stream = loaded_ahead([Entry(tmp_path, str(n)) for n in range(1000)], None)
    for _ in range(10):
        next(stream)
    stream.close()
    assert len(started) <= 10 + predict_batches.AHEAD
