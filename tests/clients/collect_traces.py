"""A collector of traces: takes OTLP over HTTP with OpenTelemetry's own classes.

collect_traces.py PORT FILE SETBACKS: appends a JSON line for each span to the file. The first SETBACKS requests are answered 503, as by
a collector that is being started.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

port, file, setbacks = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def values(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def spans(request, headers):
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "began_ns": span.start_time_unix_nano,
                    "ended_ns": span.end_time_unix_nano,
                    "attributes": values(span.attributes),
                    "status": Status.StatusCode.Name(span.status.code),
                    "resource": values(resource.resource.attributes),
                    "scope": scope.scope.name,
                    "api_key": headers.get("api-key"),
                }


class Collector(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b"")

    def do_POST(self):
        global setbacks
        body = self.rfile.read(int(self.headers["content-length"]))
        if setbacks > 0:
            setbacks -= 1
            return self.answer(503, b"")
        if self.path != "/v1/traces" or self.headers["content-type"] != "application/x-protobuf":
            return self.answer(404, b"")
        request = ExportTraceServiceRequest.FromString(body)
        with open(file, "a", encoding="utf-8") as lines:
            lines.write("".join(json.dumps(span) + "\n" for span in spans(request, self.headers)))
        self.answer(200, ExportTraceServiceResponse().SerializeToString())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", port), Collector).serve_forever()
