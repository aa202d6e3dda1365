"""What a bar expected and what it saw."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Proof:
    """Everything that was seen, and what of it should have been otherwise."""

    figures: dict[str, object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def expect(self, what: str, seen: object, wanted: object) -> None:
        """Notes what was seen, and a fault where that is not what was wanted."""
        self.figures[what] = seen
        if seen != wanted:
            self.faults.append(f"{what}: {seen!r}, not {wanted!r}")

    def holds(self, what: str, holds: bool) -> None:
        """Notes whether something holds, and a fault where it does not."""
        self.expect(what, holds, True)

    def outcome(self, figure: str) -> dict[str, object]:
        """Returns what a bar returns; `figure` is its sentence where nothing is at fault."""
        return {
            "passed": not self.faults,
            "figure": "; ".join(self.faults) or figure,
            "figures": self.figures | {"faults": self.faults},
        }
