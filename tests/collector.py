"""A stub of an OpenTelemetry collector on loopback: takes OTLP over HTTP, and keeps the spans."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import frozen
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@frozen
class Collected:
    """A span as it came."""

    service: str
    scope: str
    name: str
    trace: str
    span: str
    parent: str
    links: tuple[str, ...]
    attributes: dict


class Collector:
    def __init__(self):
        self.spans = []
        self.changed = threading.Condition()

    def take(self, body):
        request = ExportTraceServiceRequest.FromString(body)
        found = [
            Collected(
                _attributes(resource.resource)["service.name"],
                scope.scope.name,
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                tuple(link.span_id.hex() for link in span.links),
                _attributes(span),
            )
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self.changed:
            self.spans += found
            self.changed.notify_all()

    def until(self, count, seconds=30):
        """The spans, once there are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.spans) >= count, seconds), self.spans
            return list(self.spans)


def _attributes(of):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


@contextlib.contextmanager
def collecting():
    """A collector, and the environment in which OpenTelemetry sends to it."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield collector, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        finally:
            server.shutdown()
