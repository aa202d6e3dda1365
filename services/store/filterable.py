"""Whether a filter can be applied to a generation."""

from __future__ import annotations

from services.store.manifest import Manifest
from sightline._filtering import check_filter, check_types
from sightline.errors import FailedPrecondition
from sightline.filters import Filter


def check_filterable(manifest: Manifest, condition: Filter) -> None:
    """Checks a filter against what the generation's images have.

    Raises:
        InvalidArgument: the filter is wrong in itself, or asks for what the images do not have; names the field.
        FailedPrecondition: the generation was built without what filters need (NOT_FILTERABLE).
    """
    check_filter(condition)
    check_types(condition, manifest.types)
    if not manifest.filterable:
        message = (
            f"generation {manifest.generation} of {manifest.collection} was built without a table of its attributes, "
            "which filters need: build and publish it anew"
        )
        raise FailedPrecondition(message, reason="NOT_FILTERABLE", field="filter")
