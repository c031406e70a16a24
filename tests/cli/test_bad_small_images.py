"""The studies of small images from the command line: what makes no study is one sentence, whoever finds it."""

import pytest
from in_process import call, refused
from small_sets import write_cifar

QUICK = ("--workers", 0, "--quiet", "--steps", 1)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    return write_cifar(tmp_path_factory.mktemp("cifar"))


@pytest.fixture
def refusal(tmp_path):
    """Return a function that gives the sentence with which a run of a recipe is refused."""
    return lambda *words: refused("run", *words, "--out", tmp_path / "run", *QUICK)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("realmix_cifar10", "--labels", 45), "45 labels can't be spread evenly over 10 classes"),
        (("realmix_cifar10", "--labels", 0), "0 labels can't be spread evenly over 10 classes"),
        (("realmix_mismatch", "--labels", 50), "take 48 or 54"),
        (("realmix_cifar10", "--labels", 10_000), "has 400 row(s) of the class 'disk'"),
        (("fixmatch_cifar10", "--labels", 10_000), "has 400 row(s) of the class 'disk'"),
        (("realmix_cifar10", "--labels", 4000), "has 400 row(s) of the class 'disk', but the Subset keeps rows 400 to"),
        (("realmix_cifar10", "--gamma", 1.5), "OODMask.gamma: Input should be less than or equal to 1, got 1.5"),
        (("realmix_cifar10", "--gamma", -0.1), "OODMask.gamma: Input should be greater than or equal to 0, got -0.1"),
        (("realmix_mismatch", "--gamma", -0.1), "greater than or equal to 0, got -0.1"),
        (("fixmatch_cifar10", "--threshold", 2), "FixMatch.threshold: Input should be less than or equal to 1, got 2"),
        (("fixmatch_cifar10", "--mu", 0), "--mu must be at least 1, got 0"),
        (("realmix_mismatch", "--mismatch", 30), 'Invalid value "30" for --mismatch. Choose from: 0, 25, 50, 75, 100.'),
        (("realmix_cifar10", "--method", "mixmach"), 'Did you mean "mixmatch"?'),
        (("realmix_cifar10", "--network", "wrn-28-10"), 'Did you mean "wrn-28-2"?'),
        (("realmix_cifar10", "--extend-rounds", 0), "Extend.rounds: Input should be greater than or equal to 1, got 0"),
        (("realmix_cifar10", "--batch", 0), "batches would be empty"),
        (("realmix_cifar10", "--lr", 0), "AdamW.lr: Input should be greater than 0, got 0"),
        (("realmix_cifar10", "--method", "fixmatch", "--lr", 0), "SGD.lr: Input should be greater than 0, got 0"),
        (("realmix_cifar10", "--ema", 1.5), "Teacher.decay: Input should be less than 1, got 1.5"),
        (("realmix_cifar10", "--dataset", "svhn"), "name their folder with --data"),
        (("realmix_cifar10", "--data", "nowhere"), "nowhere does not exist; check --data"),
        (("imagenet32_pretrain", "--data", "nowhere"), "nowhere"),
        (("realmix_cifar10", "--weights", "nowhere"), "nowhere, but there is no such file; correct the path"),
    ],
)
def test_flags_that_make_no_study(words, says, refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refusal(*words)


@pytest.mark.parametrize("recipe", ["realmix_cifar10", "realmix_mismatch", "fixmatch_cifar10", "imagenet32_pretrain"])
def test_an_empty_folder(recipe, refusal, tmp_path):
    (tmp_path / "empty").mkdir()
    sentence = refusal(recipe, "--data", tmp_path / "empty")
    assert str(tmp_path / "empty") in sentence
    assert " looked for " in sentence


def test_a_damaged_batch(cifar, refusal, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for path in (cifar / "cifar-10-batches-py").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    path = folder / "data_batch_2"
    path.write_bytes(path.read_bytes()[:5000])
    words = ("realmix_cifar10", "--data", tmp_path, "--labels", 10)
    assert "data_batch_2" in refusal(*words)
    path.write_bytes(f"cos\nsystem\n(S'touch {tmp_path}/ran'\ntR.".encode())
    assert "data_batch_2" in refusal(*words)
    assert not (tmp_path / "ran").exists()


def test_more_labels_than_images(cifar, refusal, tmp_path):
    """All ten of a class may be labeled, where nothing else has to be unlabeled."""
    words = ("realmix_cifar10", "--data", cifar, "--network", "wrn-10-1", "--batch", 2)
    assert "has 10 row(s) of the class 'airplane'" in refusal(*words, "--labels", 110)
    assert "has 10 row(s) of the class 'airplane', but the Subset keeps rows 10 to the last" in refusal(
        *words, "--labels", 100
    )
    for method in ("supervised", "fixmatch"):
        out = tmp_path / f"{method}.png"
        assert call("views", *words, "--method", method, "--labels", 100, "--out", out).code == 0


def test_weights_that_do_not_fit(refusal, tmp_path):
    run, small = tmp_path / "pretrained", ("--batch", 4, "--size", 16)
    assert call("run", "imagenet32_pretrain", "--out", run, *small, *QUICK).code == 0
    sentence = refusal("realmix_cifar10", "--weights", run, "--network", "wrn-16-2", *small)
    assert "doesn't fit WideResNet(depth=16, width=2)" in sentence
    last = run / "checkpoints/last/teacher.safetensors"
    last.write_bytes(last.read_bytes()[:100])
    assert "teacher.safetensors" in refusal("realmix_cifar10", "--weights", run, *small)
    (tmp_path / "empty").mkdir()
    assert "holds no checkpoint" in refusal("realmix_cifar10", "--weights", tmp_path / "empty", *small)


def test_other_commands_refuse_alike(tmp_path):
    for words in (("views",), ("data", "coverage")):
        assert "take 40 or 50" in refused(*words, "realmix_cifar10", "--labels", 45, "--out", tmp_path / "x.png")
        assert not (tmp_path / "x.png").exists()
