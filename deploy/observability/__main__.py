"""Writes the chart's dashboards and rules:

python -m deploy.observability            after a change of them
python -m deploy.observability --check    says which files are out of date, and fails then
"""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.observability import grafana, prometheus
from deploy.observability.alerts import alerts
from deploy.observability.objectives import records
from deploy.observability.rows import ROWS

CHART = Path(__file__).resolve().parents[1] / "helm" / "sightline"
SAYS = "A Sightline installation: what callers feel, whose fault it is, and what it costs."


def files() -> dict[Path, str]:
    """Returns what should be written, by file."""
    return {
        CHART / "dashboards" / "sightline.json": grafana.write("Sightline", "sightline", SAYS, ROWS),
        CHART / "rules" / "records.yaml": prometheus.recording(records()),
        CHART / "rules" / "alerts.yaml": prometheus.alerting(alerts()),
    }


def main() -> int:
    """Writes or checks; returns 1 where a check finds a difference."""
    stale = [file for file, text in files().items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file in stale:
        print(f"{file.relative_to(CHART)} {'is out of date' if '--check' in sys.argv else 'is written'}")
        if "--check" not in sys.argv:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(files()[file], encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
