"""A program that runs in a pod: unpacks a tar, gzipped and in base64, from its input into a bucket.

put.py BUCKET/FOLDER        put.py BUCKET   only makes the bucket
"""

from __future__ import annotations

import base64
import io
import sys
import tarfile
import tempfile
from pathlib import Path

from fsspec import filesystem

target = sys.argv[1]
files = filesystem("s3")
if not files.exists(target.partition("/")[0]):
    files.mkdir(target.partition("/")[0])
if "/" in target:
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(sys.stdin.read()))) as tar:
            for member in tar:
                if content := tar.extractfile(member):
                    Path(folder, Path(member.name).name).write_bytes(content.read())
        files.put(f"{folder}/", f"{target}/", recursive=True)
    print(len(files.ls(target)))
