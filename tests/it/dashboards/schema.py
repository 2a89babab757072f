"""Reads the dashboard on standard input as Grafana's own types have it, writes it again, and reports what was lost."""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(before, after, place):
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from differences(value, after[key], f"{place}/{key}")
            else:
                yield f"{place}/{key} is unknown"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after)):
            yield from differences(*pair, f"{place}/{index}")
    elif before != after:
        yield f"{place} is {before!r}, read as {after!r}"


register_default_plugins()
dashboard = json.load(sys.stdin)
again = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
for difference in differences(dashboard, again, ""):
    print(difference)
