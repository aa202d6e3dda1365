"""What a searcher counts beside what every process counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FAILURES = ("ANOTHER_MODEL", "CORRUPT_GENERATION", "UNAVAILABLE")
"""The usual reasons of load_failures_total, which start at 0."""

queries_total = Counter("sightline_searcher_queries_total", "Queries computed. One that expired in the queue never is.")
search_seconds = Histogram(
    "sightline_searcher_search_seconds",
    "Time that the searching thread took for one batch.",
    buckets=(0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
load_seconds = Histogram(
    "sightline_searcher_load_seconds", "Time to load a generation.", buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800)
)
load_failures_total = Counter(
    "sightline_searcher_load_failures_total", "Generations that could not be loaded, by why.", ["collection", "reason"]
)
refused_generations = Gauge(
    "sightline_searcher_refused_generations", "Generations that it refuses now.", ["collection"]
)
images = Gauge("sightline_searcher_images", "Images that can be searched.", ["collection", "generation"])
