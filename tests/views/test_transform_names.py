"""The vocabulary: every name is in its list, and every class says in one place what it is."""

import kornia.augmentation as K
import kornia.enhance

from ssmtl.component import kinds, resolve
from ssmtl.views.ops import FRAMES, GEOMETRIC, PHOTOMETRIC, WARPS
from ssmtl.views.transform import Erasing, Graded, Photometric, Warp


def test_names_say_which_kind_of_symmetry_they_need():
    ours = {name: resolve("transforms", name) for name in kinds("transforms") if name != "Kornia"}
    assert {*PHOTOMETRIC, *GEOMETRIC} == set(ours)
    assert len(PHOTOMETRIC) + len(GEOMETRIC) == len(ours)
    for name, kind in ours.items():
        assert issubclass(kind, Warp if name in GEOMETRIC else Photometric | Erasing), name
        assert not issubclass(kind, Warp) or kind.frames == (name in FRAMES), name


def test_every_named_counterpart_exists_in_kornia():
    found = 0
    for name in kinds("transforms"):
        kind = resolve("transforms", name)
        found += bool(kind.kornia)
        assert not kind.kornia or hasattr(K, kind.kornia) or hasattr(kornia.enhance, kind.kornia), name
        assert (name in (*WARPS, *FRAMES) and bool(kind.kornia)) or name not in GEOMETRIC, name
        assert not issubclass(kind, Graded) or kind.unit, name
    assert found >= len(GEOMETRIC)
