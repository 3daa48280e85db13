"""The way from the network into the service: host, key, size and time are checked before anything is read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from experiments.serving.observing import LOGGER, Observations
from experiments.serving.options import ApiKey, ServiceOptions

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/", "/page.js", "/page.css", "/docs", "/docs.js", "/openapi.json", "/health"})
"""Paths that reveal nothing of the runs; every other one needs the key, if there is one."""
KEYED_PATHS = frozenset({"/predict", "/info", "/metrics"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Refusal(Exception):
    """A request that gets no answer: its HTTP status and the reason, which tells nothing of its texts."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """Wraps a service: it refuses what the service must not see, adds security headers, counts and logs.

    Args:
        application: the service.
        options: hosts and limits.
        key: what requests must bring, if anything.
        observations: where requests are counted.
    """

    def __init__(
        self, application: Application, options: ServiceOptions, key: ApiKey | None, observations: Observations
    ) -> None:
        self.application, self.options, self.key, self.observations = application, options, key, observations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; whatever happens, the client gets an answer with a status and a reason."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        started, status = time.monotonic(), 0
        path = scope["path"] if scope["path"] in OPEN_PATHS | KEYED_PATHS else "other"

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        try:
            self._check(scope)
            await self.application(scope, self._bounded(receive), watched)
        except Refusal as refusal:
            if not status:
                await refuse(watched, refusal)
        except Exception:
            LOGGER.exception("request failed", extra={"fields": {"path": path}})
            if not status:
                await refuse(watched, Refusal(500, "the service failed on this request; its log says where"))
        finally:
            seconds = time.monotonic() - started
            self.observations.request(path, status, seconds)
            fields = {"method": scope["method"], "path": path, "status": status, "ms": round(1000 * seconds, 1)}
            LOGGER.info("request", extra={"fields": fields | scope.get("noted", {})})

    def _check(self, scope: Scope) -> None:
        """Refuse a foreign host, a missing key and a body that says that it is too large, before any of it is read.

        Raises:
            Refusal: with status 400, 401, 411 or 413.
        """
        headers = {}
        for name, value in scope["headers"]:
            if name in headers and name in (b"host", b"authorization", b"content-length"):
                raise Refusal(400, f"the header {name.decode()} is there twice")
            headers[name] = value.decode("latin-1")
        if host_of(headers.get(b"host", "")) not in self.options.hosts:
            raise Refusal(400, "the header Host does not name this service; its owner can add names by --allowed_hosts")
        key = None if scope["path"] in OPEN_PATHS else self.key
        if key is not None and not key.opens(headers.get(b"authorization")):
            raise Refusal(401, "send the API key as the header Authorization: Bearer KEY")
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length[:20]) > self.options.most_bytes:
            raise Refusal(413, f"the body may have at most {self.options.most_bytes:,} bytes")

    def _bounded(self, receive: Receive) -> Receive:
        """Return ``receive`` with the limits of size and time, which also hold if no length was announced."""
        left, deadline, whole = self.options.most_bytes, time.monotonic() + self.options.seconds, False

        async def bounded() -> Message:
            """Receive the next part of the body; refuse it if the body is too large or takes too long."""
            nonlocal left, whole
            if whole:  # what follows is the client's leaving, which may take its time
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise Refusal(408, f"the body took longer than {self.options.seconds:g} seconds") from None
            left -= len(message.get("body", b""))
            if left < 0:
                raise Refusal(413, f"the body may have at most {self.options.most_bytes:,} bytes")
            whole = not message.get("more_body", False)
            return message

        return bounded


def host_of(header: str) -> str:
    """Return the host of a header ``Host`` without its port, in lower case; empty if it is none."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # which raises where it is no number
    except ValueError:
        return ""
    plain = parts.netloc == header and "@" not in header and not (parts.path or parts.query or parts.fragment)
    return (parts.hostname or "").lower() if plain else ""


async def refuse(send: Send, refusal: Refusal) -> None:
    """Answer a request with a reason."""
    body = json.dumps({"error": refusal.reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status in (429, 503):
        headers.append((b"retry-after", b"1"))
    if refusal.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body stays unread
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
