"""The command line: `sightline search`, `sightline get`, `sightline status`. Needs the extra `cli`."""

from __future__ import annotations

import sys

EXTRA = {"typer", "rich", "PIL", "textual_image"}
"""What the extra brings, as modules."""


def main() -> None:
    """Runs the command line, or says how to get what it needs."""
    try:
        from sightline.cli.app import app  # noqa: PLC0415  the SDK is installed without what this needs
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in EXTRA:
            raise
        print(
            f"The command line needs {missing.name}, which the extra brings; in a checkout: pip install '.[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    app()
