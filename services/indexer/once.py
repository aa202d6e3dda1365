"""What is done once, wherever it is asked for again: a note in a store says that it has been.

Kubernetes forgets Jobs, and Helm makes again what it once took away; what they asked for is not to be done twice.
"""

from __future__ import annotations

from services.store.files import Files


class Note:
    """A note that something is done.

    Args:
        url: of its file, anywhere that fsspec writes to.
        timeout: seconds that the store may take.

    Raises:
        InvalidArgument: there is no such kind of place.
    """

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        folder, _, self._name = url.rpartition("/")
        self._files = Files(folder or ".", timeout, conditional=False)

    def is_there(self) -> bool:
        """Whether it is done. Raises Unavailable where the store does not answer."""
        return self._files.read(self._name) is not None

    def write(self) -> None:
        """Notes that it is done. Raises Unavailable."""
        self._files.write(self._name, b"done\n")
