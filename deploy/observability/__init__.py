"""Dashboards, recording rules and alerts as code; `python -m deploy.observability` writes the files of the chart."""
