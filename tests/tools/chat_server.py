"""An OpenAI-compatible endpoint on this machine that answers as a test tells it."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(content):
    """The envelope of a chat completion."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


def marks(comment="Well said.", **given):
    return completion(json.dumps({"marks": given, "comment": comment}))


class ChatServer:
    """Answers each request with the next of `answers` (the last one again and again): (status, headers, body)."""

    def __init__(self):
        self.answers = []
        self.requests = []
        self.drip_s = 0.0
        """Seconds between two bytes of a body."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append((self.path, dict(self.headers), json.loads(body)))
                status, headers, answer = outer.answers[min(len(outer.requests), len(outer.answers)) - 1]
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                with contextlib.suppress(OSError):  # the client may have hung up
                    self._send(answer)

            def _send(self, answer):
                if not outer.drip_s:
                    self.wfile.write(answer)
                    return
                for byte in answer:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(outer.drip_s)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def says(self, *bodies):
        self.answers = [(200, {}, body) for body in bodies]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()
