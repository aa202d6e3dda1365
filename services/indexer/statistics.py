"""How the values of an attribute are spread: exact while there are few, coarser where there are many, never large.

Shards count by themselves and are added up; the sum is the same in whichever order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from services.indexer.rows import AttributeValue

DISTINCT = 2048
_LONGEST = 64
_FINEST = 53


@dataclass(slots=True)
class Values:
    """The values of an attribute.

    Attributes:
        images: how many have it.
        texts: how often each text comes, cut to 64 characters; the rarest are `others` where there are too many.
        numbers: how often each number comes, rounded down to `bits` significant bits where there are too many.
    """

    images: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    others: int = 0
    numbers: Counter[float] = field(default_factory=Counter)
    bits: int = _FINEST

    def add(self, value: AttributeValue) -> None:
        """Counts one image's value."""
        self.images += 1
        match value:
            case bool():
                self.texts["true" if value else "false"] += 1
            case int() | float():
                self.numbers[_rounded(float(value), self.bits)] += 1
                self._coarsen()
            case str():
                self._add_text(value)
            case tuple():
                for one in value:
                    self._add_text(one)

    def merge(self, other: Values) -> None:
        """Adds what another shard has counted."""
        self.images += other.images
        self.others += other.others
        self.texts.update(other.texts)
        if len(self.texts) > DISTINCT:
            kept = sorted(self.texts.items(), key=lambda item: (-item[1], item[0]))[:DISTINCT]
            self.others += self.texts.total() - sum(count for _, count in kept)
            self.texts = Counter(dict(kept))
        self.bits = min(self.bits, other.bits)
        merged: Counter[float] = Counter()
        for value, count in [*self.numbers.items(), *other.numbers.items()]:
            merged[_rounded(value, self.bits)] += count
        self.numbers = merged
        self._coarsen()

    def bins(self, most: int = 24) -> list[tuple[str, int]]:
        """What to draw: a label and a count each. The commonest texts, or equal steps from the least number on."""
        if not self.numbers:
            shown = sorted(self.texts.items(), key=lambda item: (-item[1], item[0]))
            rest = sum(count for _, count in shown[most:]) + self.others
            return [*shown[:most], *([("…", rest)] if rest else [])]
        low, high = min(self.numbers), max(self.numbers)
        if len(self.numbers) <= most:
            return [(f"{value:g}", count) for value, count in sorted(self.numbers.items())]
        # Halved, so that a range over all numbers does not overflow.
        step = (high / most - low / most) or 1.0
        counts = [0] * most
        for value, count in self.numbers.items():
            counts[min(most - 1, int(value / step - low / step))] += count
        return [(f"{low + place * step:.4g}", count) for place, count in enumerate(counts)]

    def to_record(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "images": self.images,
            "texts": list(self.texts.items()),
            "others": self.others,
            "numbers": list(self.numbers.items()),
            "bits": self.bits,
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """From plain values."""
        texts, numbers = Counter(dict(record["texts"])), Counter({float(k): n for k, n in record["numbers"]})
        return cls(record["images"], texts, record["others"], numbers, record["bits"])

    def _add_text(self, text: str) -> None:
        short = text[:_LONGEST]
        if short in self.texts or len(self.texts) < DISTINCT:
            self.texts[short] += 1
        else:
            self.others += 1

    def _coarsen(self) -> None:
        while len(self.numbers) > DISTINCT:
            self.bits -= 1
            coarser: Counter[float] = Counter()
            for value, count in self.numbers.items():
                coarser[_rounded(value, self.bits)] += count
            self.numbers = coarser


def _rounded(value: float, bits: int) -> float:
    """A number cut to so many significant bits."""
    if bits >= _FINEST:
        return value
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.trunc(math.ldexp(mantissa, bits)), exponent - bits)
