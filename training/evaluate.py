"""Measures how well a search finds what it should.

python -m training.evaluate queries.jsonl --address localhost:7700 --collection shop --report report.html
python -m training.evaluate queries.jsonl --model models/emoji --images images.jsonl --json report.json
python -m training.evaluate compare before.json after.json --report diff.html
python -m training.evaluate dataset flickr30k FOLDER --out OUT     local copy -> images.jsonl, queries.jsonl
python -m training.evaluate dataset flickr30k FOLDER --out OUT --model ViT-B-32 --pretrained laion2b_s34b_b79k
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from services.encoder.backends import choose
from services.encoder.ports import Model
from services.encoder.sources import LoadError
from sightline.errors import SightlineError
from training.datasets import catalog
from training.datasets.dataset import IMAGES, QUERIES, DatasetError, write
from training.evaluation.captions import read_captions
from training.evaluation.cluster import Cluster
from training.evaluation.comparison import CannotCompare, Comparison, compare, write_comparison
from training.evaluation.evaluating import DEPTH, Plan, evaluate
from training.evaluation.lines import BadLine
from training.evaluation.page import Pictures, comparison_page, no_pictures, report_page
from training.evaluation.pictures import locations, read_rows, thumbnails
from training.evaluation.queries import CUTOFF_LIMIT, QuerySet, read_queries
from training.evaluation.report import BadReport, Report, read_report, write_report
from training.evaluation.resampling import RESAMPLES, SEED
from training.evaluation.searching import Progress, Subject
from training.evaluation.trec import read_trec

FAILED, MISTAKEN = 1, 2
"""Exit codes: some queries failed, or nobody answered; what was asked for makes no sense."""

_CALLERS_LIMIT = 256
_DEPTH_LIMIT = 1 << 40  # the pool is the end, or what a gateway answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace], int]]] = {
        "compare": (_compare_parser, _compare),
        "dataset": (_dataset_parser, _dataset),
    }
    parser, command = commands.get(words[0] if words else "", (_evaluate_parser, _evaluate))
    given = parser().parse_args(words[1:] if command is not _evaluate else words)
    try:
        return command(given)
    except SightlineError as error:
        print(f"{error} ({error.reason})", file=sys.stderr)
        return FAILED
    except (BadLine, BadReport, CannotCompare, DatasetError, LoadError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return MISTAKEN


def _evaluate(given: argparse.Namespace) -> int:
    _check_outputs(given)
    asked, plan = _asked(given), Plan(given.depth, given.cutoffs, given.resamples, seed=given.seed)
    subject = _subject(given)
    report = evaluate(asked, subject, plan, _progress("queries"))
    if given.json:
        write_report(report, given.json)
    if given.report:
        given.report.write_text(report_page(report, _patient(subject.pictures)), encoding="utf-8")
    _tell(report)
    return FAILED if report.counts["errors"] else 0


def _compare(given: argparse.Namespace) -> int:
    _check_outputs(given)
    compared = compare(read_report(given.before), read_report(given.after))
    if given.json:
        write_comparison(compared, given.json)
    if given.report:
        given.report.write_text(comparison_page(compared, _patient(_pictures(given))), encoding="utf-8")
    _tell_difference(compared)
    return 0


def _dataset(given: argparse.Namespace) -> int:
    _check_outputs(given)
    dataset = catalog.DATASETS[given.name](given.root, given.variant)
    write(dataset, given.out)
    print(dataset.asked.about)
    print(f"{len(dataset.pictures):,} pictures, {len(dataset.asked.queries):,} queries: {given.out}")
    if not (given.address or given.model):
        return 0
    given.queries, given.images = given.out / QUERIES, given.out / IMAGES
    return _evaluate(given)


def _check_outputs(given: argparse.Namespace) -> None:
    """Raises ValueError where a file could not be written: better now than after a long run."""
    for file in (given.report, given.json):
        if file and not file.parent.is_dir():
            raise ValueError(f"{file} cannot be written: there is no folder {file.parent}")


def _asked(given: argparse.Namespace) -> QuerySet:
    if given.captions:
        return read_captions(given.queries)
    return read_trec(given.queries, given.qrels) if given.qrels else read_queries(given.queries)


def _subject(given: argparse.Namespace) -> Subject:
    if given.address:
        return Cluster(given.address, given.collection, callers=given.callers, timeout=given.timeout)
    if not given.images:
        raise ValueError("--model needs --images: the pictures to rank")
    from training.evaluation.local import LocalModel  # noqa: PLC0415 - a cluster is judged without it

    return LocalModel(_loaded(given), locations(read_rows(given.images)), _progress("pictures"))


def _loaded(given: argparse.Namespace) -> Model:
    """The model, by the library that the encoder would take. It remembers no text: tokenizing counts as time."""
    # Only here, and one alone: an export runs where torch is not installed.
    if choose("auto", given.model, "auto") == "onnx":
        from services.encoder import onnx_model  # noqa: PLC0415

        return onnx_model.load(given.model, given.pretrained, remembered_texts=1)
    from services.encoder import model  # noqa: PLC0415

    return model.load(given.model, given.pretrained, remembered_texts=1)


def _pictures(given: argparse.Namespace) -> Pictures:
    if given.address:
        return Cluster(given.address, given.collection).pictures
    if given.images:
        files = locations(read_rows(given.images))
        return lambda ids: thumbnails(files, ids)
    return no_pictures


def _patient(pictures: Pictures) -> Pictures:
    """A page without pictures is better than none after a long run."""

    def found(ids: Sequence[str]) -> dict[str, bytes]:
        try:
            return dict(pictures(ids))
        except SightlineError as error:
            print(f"the page has no pictures: {error}", file=sys.stderr)
            return {}

    return found


def _tell(report: Report) -> None:
    print(report.about)
    for name, estimate in report.overall.measures.items():
        print(f"  {name:10}  {estimate.mean:.3f}   {estimate.low:.3f} – {estimate.high:.3f}")
    if report.latency_ms:
        shown = ", ".join(f"{name} {report.latency_ms[name]:.1f}" for name in ("p50", "p95", "p99"))
        print(f"  {report.queries_per_second:,.0f} queries a second; latency in ms: {shown} ({report.timing})")
    for warning in report.warnings:
        print(f"  warning: {warning}", file=sys.stderr)


def _tell_difference(compared: Comparison) -> None:
    print(f"{compared.paired:,} queries in both; p of a paired randomisation test, adjusted by Holm's method")
    for name, one in compared.differences.items():
        mark = "*" if one.significant else " "
        print(f"{mark} {name:10}  {one.before:.3f} → {one.after:.3f}   {one.change.mean:+.3f}   p {one.p_holm:.4f}")
    for warning in compared.warnings:
        print(f"  warning: {warning}", file=sys.stderr)


def _progress(what: str) -> Progress:
    """Tells how far it is, at most once a second; on one line where that is a terminal's."""
    last = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal last
        if done < of and time.monotonic() < last + (0.2 if sys.stderr.isatty() else 10):
            return
        last = time.monotonic()
        end = "\r" if sys.stderr.isatty() and done < of else "\n"
        print(f"{done:,} of {of:,} {what}", file=sys.stderr, end=end, flush=True)

    return tell


def _evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("queries", type=Path, help="JSONL with judgments, or topics, or a table of captions")
    parser.add_argument("--qrels", type=Path, help="judgments in TREC's format; the queries are then topics")
    parser.add_argument("--captions", action="store_true", help="the queries are captions of the images themselves")
    _add_subject(parser, required=True)
    parser.add_argument("--images", type=Path, help="the pool of --model: a folder, or JSONL as the indexer takes it")
    return parser


def _add_subject(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """What is asked, how, and where what came of it is written."""
    asked = parser.add_mutually_exclusive_group(required=required)
    asked.add_argument("--address", help="host:port of a running cluster's gateway")
    asked.add_argument("--model", help="a model to run here: a folder, hf-hub:REPOSITORY, or open_clip's name")
    parser.add_argument("--collection", default="", help="of the cluster; may be left out where there is one alone")
    parser.add_argument("--callers", type=_whole(_CALLERS_LIMIT), default=1, help="queries under way at a time")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for each call")
    parser.add_argument("--pretrained", default="", help="beside open_clip's name: a tag, or a file of weights")
    parser.add_argument("--depth", type=_whole(_DEPTH_LIMIT), default=DEPTH, help="how many hits to look at")
    parser.add_argument("--cutoffs", type=_cutoffs, default=(), help="the k of Recall@k, such as 1,5,10")
    parser.add_argument("--resamples", type=_whole(100_000), default=RESAMPLES, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=SEED, help="of its draws")
    _add_outputs(parser)


def _compare_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate compare", description="Compares two runs.")
    parser.add_argument("before", type=Path, help="what --json of an evaluation wrote")
    parser.add_argument("after", type=Path, help="that of another, of the same queries")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--address", help="host:port of the cluster that has the pictures to show")
    shown.add_argument("--images", type=Path, help="the pictures to show: a folder, or JSONL as the indexer takes it")
    parser.add_argument("--collection", default="", help="of the cluster")
    _add_outputs(parser)
    return parser


def _dataset_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate dataset",
        description="Reads a local copy of a published dataset; with --model or --address, asks its queries too.",
    )
    parser.add_argument("name", choices=sorted(catalog.DATASETS))
    parser.add_argument("root", type=Path, help="where its files are; for emoji, where to draw them")
    parser.add_argument("--variant", default="", help=catalog.VARIANTS)
    parser.add_argument("--out", type=Path, required=True, help=f"folder for {IMAGES} and {QUERIES}")
    _add_subject(parser, required=False)
    parser.set_defaults(captions=False, qrels=None)
    return parser


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--report", type=Path, help="write an HTML page here")
    parser.add_argument("--json", type=Path, help="write JSON here")


def _whole(most: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {most:,}, is {text!r}")
        return int(text)

    return whole


def _cutoffs(text: str) -> tuple[int, ...]:
    return tuple(sorted({_whole(CUTOFF_LIMIT)(one.strip()) for one in text.split(",")}))


if __name__ == "__main__":
    sys.exit(main())
