"""An address on this machine that answers as a test tells it, and remembers what it was asked."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class EndpointServer:
    """Answers each request with the next of its `answers`, and the last one for ever.

    An answer is text, bytes, something for JSON, (status, headers, body), a function of the request that gives one of
    those, or one marked `raw` that is given the handler and writes to the socket itself. The request is the JSON that
    was posted, or the path that was asked for.
    """

    def __init__(self):
        self.answers, self.requests, self.headers, self.paths, self.at = [], [], [], [], []
        self.ending = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(self.path)

            def do_POST(self):
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, request):
                endpoint.at.append(time.monotonic())
                endpoint.requests.append(request)
                endpoint.headers.append(dict(self.headers))
                endpoint.paths.append(self.path)
                answer = endpoint.answers[min(len(endpoint.requests), len(endpoint.answers)) - 1]
                with contextlib.suppress(OSError):  # the client may have hung up
                    if getattr(answer, "raw", False):
                        self.close_connection = True
                        answer(self)
                    else:
                        self.reply(answer(request) if callable(answer) else answer)

            def reply(self, answer):
                status, headers, content = answer if isinstance(answer, tuple) else (200, {}, answer)
                content = content.encode() if isinstance(content, str) else content
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                sent = {"Content-Type": "application/json", "Content-Length": str(len(content))}
                for name, value in (sent | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.endpoint = self
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}/v1"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()


def raw(function):
    """Marks an answer that writes to the socket itself."""
    function.raw = True
    return function


@raw
def hang(handler):
    handler.server.endpoint.ending.wait(30)


@raw
def drip(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not handler.server.endpoint.ending.wait(0.05):
        handler.wfile.write(b" ")
