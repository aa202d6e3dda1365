from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

from deploy.cluster.archive import archive


def test_an_image_has_its_programs_their_libraries_and_a_user_without_rights(tmp_path: Path) -> None:
    """What the image runs is there with all that it loads, for an unprivileged user; twice, it is the same bytes."""
    program = Path(shutil.which("env") or "/usr/bin/env")
    written = tmp_path / "env.tar"
    archive("localhost/env:test", written, [program])
    first = written.read_bytes()
    with tarfile.open(written) as outer:
        layer, config = outer.extractfile("layer.tar"), outer.extractfile("config.json")
        assert layer
        assert config
        described = json.loads(config.read())["config"]
        with tarfile.open(fileobj=io.BytesIO(layer.read())) as inner:
            names = inner.getnames()
    assert "usr/bin/env" in names
    assert any(name.endswith("libc.so.6") for name in names)
    assert (described["User"], described["Entrypoint"]) == ("65532:65532", ["/usr/bin/env"])
    archive("localhost/env:test", written, [program])
    assert written.read_bytes() == first
