"""What stands before the API: token, size, kind, a place in the queue, all before a body is read; headers after.

A body is read only once a place is taken, never beyond the limit and never longer than the timeout, so memory is
bounded by places x limit whatever clients do. An ASGI application around another.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from litepose.web.jobs import Jobs
from litepose.web.metrics import Metrics
from litepose.web.settings import ServeSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif")
BATCH_TYPE = "multipart/form-data"
API = "/v1/"
ONE, BATCH, METRICS = "/v1/people", "/v1/people/batch", "/metrics"
TYPES = {ONE: PICTURE_TYPES, BATCH: (BATCH_TYPE,)}
COUNTED = (ONE, BATCH, "/v1/models", "/health", METRICS)
DRAINED_BYTES = 10**6  # of a body that is refused: who is still writing when the connection ends may miss the answer
LINGERING_BYTES, LINGERING_S = 200e6, 5.0  # of one that is too large, after the answer

# COOP and COEP: the page's engine gets threads only in a context that shares nothing with other sites.
HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Refusal(Exception):
    """A request ends here. status: of HTTP. headers: of the answer."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Guard:
    """The guard around `app`, which finds the request's `place` and `deadline` in its scope's state."""

    def __init__(self, app: Callable[..., Awaitable[None]], settings: ServeSettings, jobs: Jobs, metrics: Metrics):
        self.app = app
        self.settings = settings
        self.jobs = jobs
        self.metrics = metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        try:
            await self._guarded(scope, receive, counted)
        except Refusal as refusal:
            await _answer(counted, refusal, receive)
        finally:
            path = scope["path"]
            self.metrics.answered(path if path in COUNTED else "page", status)

    async def _guarded(self, scope: Message, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], {name.decode("latin-1"): value for name, value in scope["headers"]}
        if path.startswith(API) or path == METRICS:
            self._check_token(headers.get("authorization", b""))
        if path not in TYPES:
            await self.app(scope, receive, send)
            return
        if headers.get("sec-fetch-site") == b"cross-site":  # a page of somebody else, in a browser on this machine
            raise Refusal(403, "This server answers to no pages of other sites.")
        if scope["method"] != "POST":
            raise Refusal(405, f"{path} takes POST; the request is a {scope['method']}.", allow="POST")
        deadline = time.monotonic() + self.settings.timeout_s
        declared = _declared_bytes(headers)
        if declared is not None and declared > self.settings.max_bytes:
            raise self._too_large(f"of {declared / 1e6:.1f} MB")
        place = self.jobs.take()
        try:
            self._check_type(path, headers)
            if place is None:
                raise Refusal(429, f"All {self.jobs.places} places are taken. Ask again in a moment.", retry_after="1")
            body = await self._body(receive, deadline)
            state = {**scope.get("state", {}), "place": place, "deadline": deadline}
            await self.app({**scope, "state": state}, _replay(body, receive), send)
        except Refusal:
            if declared is not None and declared <= DRAINED_BYTES:
                await _drain(receive, deadline)
            raise
        finally:
            if place is not None:
                place.leave()

    def _check_token(self, given: bytes) -> None:
        wanted = self.settings.token
        if wanted is None:
            return
        scheme, _, value = given.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(value.strip(), wanted.encode()):
            raise Refusal(
                401, "This server answers to requests with its token: Authorization: Bearer TOKEN.",
                www_authenticate="Bearer",
            )  # fmt: skip

    def _check_type(self, path: str, headers: dict[str, bytes]) -> None:
        kind = headers.get("content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if kind not in TYPES[path]:
            raise Refusal(
                415, f"{path} takes {', '.join(TYPES[path])}; the request says {kind or 'nothing'}. "
                "Set the header Content-Type.",
            )  # fmt: skip

    def _too_large(self, found: str) -> Refusal:
        return Refusal(
            413, f"A request may have {self.settings.max_upload_mb:g} MB; this one is {found}. Shrink the pictures, "
            "or send fewer at once.", connection="close",
        )  # fmt: skip

    async def _body(self, receive: Receive, deadline: float) -> bytes:
        """Return the request's body. Raises Refusal where it is too large or too late."""
        parts, size = [], 0
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(deadline - time.monotonic(), 0))
            except TimeoutError as error:
                raise Refusal(
                    408, f"The request's body did not come within {self.settings.timeout_s:g} s.", connection="close"
                ) from error
            if message["type"] == "http.disconnect":
                raise Refusal(400, "The client went away.")
            part = message.get("body", b"")
            size += len(part)
            if size > self.settings.max_bytes:
                raise self._too_large("larger")
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


def _declared_bytes(headers: dict[str, bytes]) -> int | None:
    value = headers.get("content-length", b"")
    return int(value) if value.isdigit() else None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read already, then what comes."""
    left = [body]

    async def replayed() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replayed


async def _drain(receive: Receive, deadline: float, *, most: float = math.inf) -> None:
    """Read the rest of a body, up to `most` bytes of it, and forget it."""
    read = 0
    try:
        while read <= most:
            message = await asyncio.wait_for(receive(), max(deadline - time.monotonic(), 0))
            read += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return
    except TimeoutError:
        return


async def _answer(send: Send, refusal: Refusal, receive: Receive) -> None:
    """Send a refusal. Who still sends too much is listened to for a moment: cut off, many clients do not read it."""
    body = json.dumps({"error": str(refusal)}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    await send(
        {
            "type": "http.response.start",
            "status": refusal.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if refusal.status == 413:
        await _drain(receive, time.monotonic() + LINGERING_S, most=LINGERING_BYTES)
    await send({"type": "http.response.body", "body": b""})
