"""What a manifest holds: images of every class, and which annotations images carry together."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from ssmtl.manifests.split import SPLITS

UNUSED = "no split"
NOTHING = "(none of them)"


@dataclass
class Tallies:
    """Counts that grow row by row.

    `classes[header][name][split]` counts images that show a class, `boxes[header][name]` the boxes of it; images that
    were looked at and show nothing count for NOTHING. `carried[headers][split, source]` counts images that carry these
    annotations and no others.
    """

    classes: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    boxes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    carried: dict[tuple[str, ...], Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))

    def show(self, header: str, split: str, names: Mapping[str, int], *, boxes: bool = False) -> None:
        """Count one image and the classes it shows, each with how often."""
        for name in names or (NOTHING,):
            self.classes[header][name][split] += 1
        if boxes:
            self.boxes[header].update(names)

    def carry(self, headers: tuple[str, ...], split: str, source: str) -> None:
        """Count one image that carries some annotations."""
        self.carried[headers][split, source] += 1

    def images(self, header: str, name: str) -> int:
        """Return how many images show a class."""
        return self.classes[header][name].total() if name in self.classes[header] else 0

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the splits that occur, in their usual order."""
        found = {split for counter in self.carried.values() for split, _ in counter}
        return tuple(split for split in (*SPLITS, UNUSED) if split in found)

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the sources that occur, sorted; an empty one stands for rows without."""
        return tuple(sorted({source for counter in self.carried.values() for _, source in counter}))
