"""Runs the server over stdio or streamable HTTP."""

from __future__ import annotations

import asyncio
import hmac
import logging
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mcp.server.transport_security import TransportSecuritySettings

from ..database.search.embedders.choice import make_embedder
from ..evolution.errors import EvolveError
from ..resources.updates import publish_updates
from ..tools.arxiv import Arxiv
from ..tools.laboratory import Laboratory
from .app import build_server, engineer_command
from .settings import LOOPBACK, Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_REQUEST_BYTES = 8 * 1024 * 1024


def configure_logging(level: str) -> None:
    """Everything to stderr, one line each: stdout belongs to the protocol. Must come before the server is made."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for client in ("httpx2", "httpcore2"):  # they log the headers of answers, in which an endpoint may repeat a key
        logging.getLogger(client).setLevel(max(logging.WARNING, logging.getLogger().level))


async def serve(settings: Settings) -> None:
    """Serve until the client hangs up or the process is told to end.

    Raises:
        EvolveError: the workspace cannot be used. Better said before a client connects than at its first call.
    """
    laboratory = Laboratory(
        settings.home,
        engineer_command(settings),
        settings.python,
        embedder=make_embedder(settings.embedder_options()),
        judge=settings.judge_endpoint(),
        arxiv=Arxiv(settings.arxiv_url),
    )
    laboratory.paths.prepare()
    async with laboratory:
        server, bus = build_server(laboratory, settings)
        updates = asyncio.create_task(publish_updates(laboratory, bus))
        try:
            running: Coroutine[Any, Any, None]
            if settings.transport == "stdio":
                running = server.run_stdio_async()
            else:
                running = _serve_http(server.streamable_http_app, settings)
            await running
        finally:
            updates.cancel()


async def _serve_http(make_app: Any, settings: Settings) -> None:
    import uvicorn

    app: ASGIApp = make_app(
        host=settings.http_host,
        max_request_body_size=MAX_REQUEST_BYTES,
        transport_security=TransportSecuritySettings(
            allowed_hosts=_allowed_hosts(settings),
            allowed_origins=[f"http://{host}" for host in _allowed_hosts(settings)],
        ),
    )
    if settings.http_token is not None:
        app = BearerToken(app, settings.http_token.get_secret_value())
    config = uvicorn.Config(
        app, host=settings.http_host, port=settings.http_port, log_level=settings.log_level.lower(), log_config=None
    )
    server = uvicorn.Server(config)
    listening = asyncio.create_task(_announce(server))
    try:
        await server.serve()
    finally:
        listening.cancel()


async def _announce(server: Any) -> None:
    """Say on stderr where the server listens, once it does (with port 0 nobody else knows)."""
    while not server.started:
        await asyncio.sleep(0.02)
    for listener in server.servers:
        for socket in listener.sockets:
            host, port = socket.getsockname()[:2]
            print(f"asi-evolve listens on http://{host}:{port}/mcp", file=sys.stderr, flush=True)


def _allowed_hosts(settings: Settings) -> list[str]:
    """Host headers that are answered: a page in a browser that resolves its own name to us is not."""
    named = [name.strip() for name in settings.http_allowed_hosts.split(",") if name.strip()]
    own = [settings.http_host] if settings.http_host not in ("0.0.0.0", "::") else []  # noqa: S104 -- compared, not bound
    hosts = dict.fromkeys([*LOOPBACK[:2], "[::1]", *own])
    return [*(f"{host}:*" for host in hosts), *hosts, *named]


class BearerToken:
    """Lets a request through only with the right `Authorization: Bearer ...`."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                await send(
                    {
                        "type": "http.response.start",
                        "status": 401,
                        "headers": [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain")],
                    }
                )
                await send({"type": "http.response.body", "body": b"Expected the right bearer token.\n"})
                return
        await self._app(scope, receive, send)


def run_server(settings: Settings) -> int:
    """Serve, and return the exit status."""
    configure_logging(settings.log_level)
    try:
        asyncio.run(serve(settings))
    except EvolveError as error:
        print(f"asi-evolve: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
