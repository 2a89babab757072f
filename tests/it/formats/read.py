"""Reads an exposition with parsers that are not the exporter's, and prints as JSON what it says.

Usage: read.py text|openmetrics|protobuf < exposition
"""

import json
import os
import sys
import tempfile

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

HERE = os.path.dirname(os.path.abspath(__file__))


def key(name, labels):
    return json.dumps([name, sorted(labels.items())])


def number(value):
    """`le` as a number, since the formats write it differently."""
    return repr(float(value))


class Told:
    """What an exposition says, in one form for all formats."""

    def __init__(self):
        self.families = {}
        self.samples = {}
        self.exemplars = {}
        self.created = {}
        self.native = {}

    def family(self, name, kind, help):
        assert name not in self.families, f"{name} is told twice"
        self.families[name] = [kind, help]

    def sample(self, name, labels, value):
        assert key(name, labels) not in self.samples, f"{name} {labels} is told twice"
        self.samples[key(name, labels)] = repr(float(value))

    def exemplar(self, name, labels, exemplar_labels, value, seconds):
        self.exemplars[key(name, labels)] = [exemplar_labels, float(value), round(seconds * 1000)]


def of_text(families):
    told = Told()
    for family in families:
        for sample in family.samples:
            labels = dict(sample.labels)
            if "le" in labels:
                labels["le"] = number(labels["le"])
            if sample.name.endswith("_created") and family.type in ("counter", "histogram"):
                told.created[key(family.name, labels)] = round(sample.value * 1000)
                continue
            told.sample(sample.name, labels, sample.value)
            if sample.exemplar:
                it = sample.exemplar
                told.exemplar(sample.name, labels, it.labels, it.value, float(it.timestamp))
        # The parsers call a counter what its samples are called without their ending.
        name = family.name + ("_total" if family.type == "counter" else "")
        told.family(name, family.type, family.documentation)
    return told


def messages():
    """The classes that protoc makes of the published messages."""
    from grpc_tools import protoc
    import grpc_tools

    directory = tempfile.mkdtemp()
    include = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
    arguments = ["protoc", f"-I{HERE}", f"-I{include}", f"--python_out={directory}", "metrics.proto"]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, directory)
    import metrics_pb2

    return metrics_pb2


def delimited(data, message):
    at = 0
    while at < len(data):
        length = shift = 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        assert at + length <= len(data), "cut off"
        yield message.FromString(data[at : at + length])
        at += length


def milliseconds(timestamp):
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000


def of_protobuf(data):
    metrics = messages()
    told = Told()
    for family in delimited(data, metrics.MetricFamily):
        kind = metrics.MetricType.Name(family.type).lower()
        told.family(family.name, kind, family.help)
        for metric in family.metric:
            labels = {pair.name: pair.value for pair in metric.label}
            assert len(labels) == len(metric.label), "a label is told twice"
            of_metric(told, family.name, kind, labels, metric)
    return told


def of_metric(told, name, kind, labels, metric):
    def exemplar(of, sample, sample_labels):
        if of.HasField("exemplar"):
            it = of.exemplar
            pairs = {pair.name: pair.value for pair in it.label}
            told.exemplar(sample, sample_labels, pairs, it.value, milliseconds(it.timestamp) / 1000)

    assert metric.HasField(kind), f"{name} is no {kind}"
    if kind == "gauge":
        told.sample(name, labels, metric.gauge.value)
    elif kind == "counter":
        told.sample(name, labels, metric.counter.value)
        told.created[key(name.removesuffix("_total"), labels)] = milliseconds(
            metric.counter.created_timestamp
        )
        exemplar(metric.counter, name, labels)
    else:
        histogram = metric.histogram
        for bucket in histogram.bucket:
            with_bound = {**labels, "le": number(bucket.upper_bound)}
            told.sample(name + "_bucket", with_bound, bucket.cumulative_count)
            exemplar(bucket, name + "_bucket", with_bound)
        told.sample(name + "_sum", labels, histogram.sample_sum)
        told.sample(name + "_count", labels, histogram.sample_count)
        told.created[key(name, labels)] = milliseconds(histogram.created_timestamp)
        if histogram.positive_span or histogram.zero_threshold:
            told.native[key(name, labels)] = of_native(histogram)


def of_native(histogram):
    buckets = {}
    index, count, deltas = 0, 0, list(histogram.positive_delta)
    for span in histogram.positive_span:
        index += span.offset
        for _ in range(span.length):
            count += deltas.pop(0)
            buckets[index] = count
            index += 1
    assert not deltas, "more counts than buckets"
    return {
        "schema": histogram.schema,
        "spans": len(histogram.positive_span),
        "zero": histogram.zero_count,
        "buckets": buckets,
    }


def main():
    data = sys.stdin.buffer.read()
    match sys.argv[1]:
        case "text":
            told = of_text(text_families(data.decode()))
        case "openmetrics":
            told = of_text(openmetrics_families(data.decode()))
        case "protobuf":
            told = of_protobuf(data)
    json.dump(vars(told), sys.stdout)


main()
