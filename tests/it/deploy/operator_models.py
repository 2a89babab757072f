"""Tells what the Prometheus operator would not understand of the resources in the JSON list on standard input.

The models are made from the operator's own definitions of its resources. They judge values; a field that they
do not know they ignore, so what does not come back out of them is reported, too.
"""

import json
import sys

from cloudcoil.models.prometheus_operator import v1
from pydantic import ValidationError


def lost(place, given, kept):
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from lost(f"{place}.{key}", value, kept.get(key))
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, pair in enumerate(zip(given, kept)):
            yield from lost(f"{place}[{number}]", *pair)
    elif given != kept:
        yield f"{place} is not known"


troubles = []
for resource in json.load(sys.stdin):
    try:
        model = getattr(v1, resource["kind"]).model_validate(resource)
    except ValidationError as error:
        troubles.append(str(error))
        continue
    kept = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    troubles += lost(resource["kind"], resource, kept)
print("\n".join(troubles))
sys.exit(bool(troubles))
