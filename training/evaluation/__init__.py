"""Measures how well a search finds: a query set against a running cluster, or against a model and picture files.

::

    asked = read_queries(Path("queries.jsonl"))
    report = evaluate(asked, Cluster("localhost:7700", "shop"))
    print(report.overall.measures["hit@10"])
"""

from training.evaluation.captions import read_captions
from training.evaluation.cluster import Cluster
from training.evaluation.comparison import CannotCompare, Comparison, compare, write_comparison
from training.evaluation.evaluating import Plan, evaluate
from training.evaluation.lines import BadLine
from training.evaluation.page import comparison_page, report_page
from training.evaluation.queries import Query, QuerySet, read_queries
from training.evaluation.report import BadReport, Report, read_report, write_report
from training.evaluation.trec import read_trec

__all__ = [
    "BadLine",
    "BadReport",
    "CannotCompare",
    "Cluster",
    "Comparison",
    "Plan",
    "Query",
    "QuerySet",
    "Report",
    "compare",
    "comparison_page",
    "evaluate",
    "read_captions",
    "read_queries",
    "read_report",
    "read_trec",
    "report_page",
    "write_comparison",
    "write_report",
]
