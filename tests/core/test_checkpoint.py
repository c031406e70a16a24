"""Checkpoints: whole or not at all, verified, with the previous one to fall back to."""

import resource

import pytest
import torch
from torch import nn

from ssmtl.checkpoint import load_checkpoint, load_optimizer, load_weights, put_weights, save_checkpoint
from ssmtl.errors import CheckpointError


def model(value):
    layer = nn.Linear(300, 10)
    nn.init.constant_(layer.weight, value)
    return layer


def save(folder, value, step):
    save_checkpoint(folder, student=model(value), teacher=model(-value), state={"step": step}, optimizer={"lr": value})


def test_round_trip(tmp_path):
    save(tmp_path / "last", 2.0, 7)
    folder, state = load_checkpoint(tmp_path / "last")
    assert state == {"step": 7}
    assert load_weights(folder, "student")["weight"][0, 0] == 2.0
    assert load_weights(folder, "teacher")["weight"][0, 0] == -2.0
    assert load_optimizer(folder) == {"lr": 2.0}


def test_a_damaged_checkpoint_falls_back_to_the_previous(tmp_path):
    save(tmp_path / "last", 1.0, 10)
    save(tmp_path / "last", 2.0, 20)
    path = tmp_path / "last" / "student.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    folder, state = load_checkpoint(tmp_path / "last")
    assert (folder.name, state["step"]) == ("last.previous", 10)
    assert load_weights(folder, "student")["weight"][0, 0] == 1.0


def test_a_flipped_bit_is_noticed(tmp_path):
    save(tmp_path / "last", 1.0, 10)
    path = tmp_path / "last" / "optimizer.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"optimizer.pt is missing or damaged; .* holds no checkpoint"):
        load_checkpoint(tmp_path / "last")


@pytest.mark.parametrize("text", ["", "{", '{"files": {}}', "[]"])
def test_a_damaged_manifest_is_refused(tmp_path, text):
    save(tmp_path / "last", 1.0, 10)
    (tmp_path / "last" / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged manifest"):
        load_checkpoint(tmp_path / "last", fall_back=False)


def test_a_full_disk_leaves_the_good_checkpoint(tmp_path):
    save(tmp_path / "last", 1.0, 10)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # a file of weights no longer fits
    try:
        with pytest.raises(CheckpointError, match=r"can't be written .* previous one is untouched"):
            save(tmp_path / "last", 2.0, 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_checkpoint(tmp_path / "last")[1]["step"] == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last"]


def test_files_outside_the_folder_are_never_read(tmp_path):
    save(tmp_path / "last", 1.0, 10)
    manifest = tmp_path / "last" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("student.safetensors", "../../student.safetensors"))
    assert load_checkpoint(tmp_path / "last")[0] == tmp_path / "last"


def test_weights_of_another_model_are_refused(tmp_path):
    save(tmp_path / "last", 1.0, 10)
    with pytest.raises(CheckpointError, match="doesn't fit the model"):
        put_weights(nn.Linear(3, 3), load_weights(tmp_path / "last", "student"), tmp_path)


def test_optimizer_state_is_never_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("gotcha",))

    save(tmp_path / "last", 1.0, 10)
    torch.save({"x": Evil()}, tmp_path / "last" / "optimizer.pt")
    with pytest.raises(CheckpointError, match="can't be read as plain tensors"):
        load_optimizer(tmp_path / "last")
