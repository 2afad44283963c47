"""Weights where a machine has them, and an endpoint on this machine that says what a test tells it to."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from asi_evolve.database.embedders import weights
from asi_evolve.evolution.errors import EmbedderUnavailable


@pytest.fixture(scope="session")
def published():
    """A folder with the published weights."""
    named = os.environ.get("ASI_EVOLVE_EMBEDDER_WEIGHTS")
    for place in weights.there():
        try:
            weights.check(place)
        except EmbedderUnavailable:
            continue
        return place.folder
    pytest.skip(f"needs the weights of all-MiniLM-L6-v2{f', which {named} lacks' if named else ''}: {weights.REMEDY}")


def embeddings(request, dimension=4, *, backwards=False):
    """What an honest endpoint answers: the vector of a text is its length, then ones."""
    data = [
        {"object": "embedding", "index": index, "embedding": [float(len(text)), *[1.0] * (dimension - 1)]}
        for index, text in enumerate(request["input"])
    ]
    return {"object": "list", "model": request["model"], "data": data[::-1] if backwards else data}


class Endpoint:
    """Answers each request with the next of its `answers`, and the last one for ever.

    An answer is bytes, something for JSON, (status, headers, body), a function of the request that gives one of those,
    or one marked `raw` that is given the handler and writes to the socket itself.
    """

    def __init__(self):
        self.answers = [embeddings]
        self.requests, self.headers, self.paths = [], [], []
        self.ending = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                number = len(endpoint.requests)
                endpoint.requests.append(body)
                endpoint.headers.append(dict(self.headers))
                endpoint.paths.append(self.path)
                answer = endpoint.answers[min(number, len(endpoint.answers) - 1)]
                if getattr(answer, "raw", False):
                    self.close_connection = True
                    answer(self)
                    return
                self.reply(answer(body) if callable(answer) else answer)

            def reply(self, answer):
                status, headers, content = answer if isinstance(answer, tuple) else (200, {}, answer)
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
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


@pytest.fixture
def endpoint(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with Endpoint() as opened:
        yield opened
