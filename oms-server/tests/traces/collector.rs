//! A stand-in for an OpenTelemetry collector: OTLP over HTTP as the protocol has it, on a socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;

/// A span as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) trace_id: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) failed: bool,
    pub(crate) started: u64,
    pub(crate) ended: u64,
    /// `service.instance.id` of whoever sent it.
    pub(crate) instance: String,
    pub(crate) service: String,
    attributes: Vec<KeyValue>,
}

impl Told {
    pub(crate) fn attribute(&self, key: &str) -> String {
        text(&self.attributes, key)
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Shared = Arc<(Mutex<Vec<Told>>, Condvar)>;

/// Listens until the test ends.
pub(crate) struct Collector {
    pub(crate) url: String,
    told: Shared,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told = Shared::default();
        let shared = told.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { url, told }
    }

    /// Waits until what has been told so far is enough.
    pub(crate) fn wait(&self, what: &str, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let (told, news) = &*self.told;
        let until = Instant::now() + Duration::from_secs(60);
        let mut told = told.lock().unwrap();
        while !enough(&told) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "in vain: {what}: {told:#?}");
            told = news.wait_timeout(told, left).unwrap().0;
        }
        told.clone()
    }
}

/// Requests of one connection, until it ends.
fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut head, mut line) = (Vec::new(), String::new());
        while reader.read_line(&mut line).unwrap_or(0) > 0 && line != "\r\n" {
            head.push(std::mem::take(&mut line).trim_end().to_ascii_lowercase());
        }
        if head.is_empty() {
            return;
        }
        assert_eq!(head[0], "post /v1/traces http/1.1");
        assert!(head.contains(&"content-type: application/x-protobuf".to_owned()), "{head:?}");
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let request = ExportTraceServiceRequest::decode(&*body).unwrap();
        let (told, news) = &**shared;
        told.lock().unwrap().extend(read(request));
        news.notify_all();
        let answer = ExportTraceServiceResponse::default().encode_to_vec();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        // Whoever was killed reads no answer.
        if stream.write_all(&[head.as_bytes(), &answer].concat()).is_err() {
            return;
        }
    }
}

fn read(request: ExportTraceServiceRequest) -> Vec<Told> {
    let mut told = Vec::new();
    for of_process in request.resource_spans {
        let resource = of_process.resource.unwrap().attributes;
        for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            told.push(Told {
                name: span.name,
                trace_id: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                failed: span.status.is_some_and(|status| status.code == 2),
                started: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                instance: text(&resource, "service.instance.id"),
                service: text(&resource, "service.name"),
                attributes: span.attributes,
            });
        }
    }
    told
}
