//! The messages of `io.prometheus.client`, as far as they are written here
//! (<https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>).

use prost::{Enumeration, Message};

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoLabelPair {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum ProtoMetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoGauge {
    #[prost(double, optional, tag = "1")]
    pub(super) value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoCounter {
    #[prost(double, optional, tag = "1")]
    pub(super) value: Option<f64>,
    #[prost(message, optional, tag = "2")]
    pub(super) exemplar: Option<ProtoExemplar>,
    #[prost(message, optional, tag = "3")]
    pub(super) created_timestamp: Option<ProtoTimestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoHistogram {
    #[prost(uint64, optional, tag = "1")]
    pub(super) sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) bucket: Vec<ProtoBucket>,
    #[prost(sint32, optional, tag = "5")]
    pub(super) schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    pub(super) zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    pub(super) zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    pub(super) positive_span: Vec<ProtoBucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub(super) positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    pub(super) created_timestamp: Option<ProtoTimestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoBucket {
    #[prost(uint64, optional, tag = "1")]
    pub(super) cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) upper_bound: Option<f64>,
    #[prost(message, optional, tag = "3")]
    pub(super) exemplar: Option<ProtoExemplar>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ProtoBucketSpan {
    /// Buckets left out since the span before, or the index of the first bucket.
    #[prost(sint32, optional, tag = "1")]
    pub(super) offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) length: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoExemplar {
    #[prost(message, repeated, tag = "1")]
    pub(super) label: Vec<ProtoLabelPair>,
    #[prost(double, optional, tag = "2")]
    pub(super) value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    pub(super) timestamp: Option<ProtoTimestamp>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ProtoTimestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoMetric {
    #[prost(message, repeated, tag = "1")]
    pub(super) label: Vec<ProtoLabelPair>,
    #[prost(message, optional, tag = "2")]
    pub(super) gauge: Option<ProtoGauge>,
    #[prost(message, optional, tag = "3")]
    pub(super) counter: Option<ProtoCounter>,
    #[prost(message, optional, tag = "7")]
    pub(super) histogram: Option<ProtoHistogram>,
}

/// Its metrics follow it as they are: a message's fields may come in parts.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoMetricFamily {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) help: Option<String>,
    #[prost(enumeration = "ProtoMetricType", optional, tag = "3")]
    pub(super) r#type: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    pub(super) metric: Vec<ProtoMetric>,
}
