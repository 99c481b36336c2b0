"""The control site: what operators and viewers on this machine may ask of the daemon, as routes.

Every route names the role that it needs. Bodies are JSON objects of at most 1 MiB; answers are JSON, a watch is NDJSON:
one object a line, with a heartbeat line when nothing else was said for a while.
"""

from __future__ import annotations

import asyncio
import enum
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext, suppress
from typing import Any, TypeVar

from aiohttp import web

from vya_backupd.api.access import Access, Peer, Role, peer_of
from vya_backupd.api.crowd import Crowd
from vya_backupd.api.lines import with_heartbeats, write_line, write_piece
from vya_backupd.api.listen import BODY_SECONDS
from vya_backupd.api.problems import json_answer, problems, route_of
from vya_backupd.api.public import metrics_handler
from vya_backupd.api.refusals import Refusals
from vya_backupd.api.route import Asked, Panel, Route, Stream
from vya_backupd.api.service import Service
from vya_backupd.api.wire import parse_place, parse_time, place_of
from vya_backupd.errors import DeniedError, UsageError, VyaError
from vya_backupd.model.operation import OperationKind, State
from vya_backupd.model.origin import Origin, speaking_for

MAX_BODY = 1024 * 1024
MAX_CONNECTIONS = 128
MAX_PAGE = 1000
"""Backups in one answer; whoever wants more asks again."""
_Choice = TypeVar("_Choice", bound=enum.StrEnum)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def control_app(
    service: Service, access: Access, panels: Sequence[Panel] = (), refusals: Refusals | None = None
) -> web.Application:
    """The application for the control socket: the main job, and what the panels offer. ``refusals`` hears of every no."""
    app = web.Application(middlewares=[problems], client_max_size=MAX_BODY)
    site = ControlSite(service, access, refusals)
    site.add_routes(app.router)
    for panel in panels:
        site.add_panel(app.router, panel)
    return app


class ControlSite:
    """The routes and their handlers."""

    def __init__(self, service: Service, access: Access, refusals: Refusals | None = None) -> None:
        self._service = service
        self.access = access
        self._refusals = refusals
        self._crowd = Crowd()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Declare every route with the role that it needs."""
        routes: list[tuple[str, str, Role, Handler]] = [
            ("GET", "/v1/status", Role.VIEWER, self._status),
            ("GET", "/v1/config", Role.VIEWER, self._config),
            ("GET", "/v1/databases", Role.VIEWER, self._databases),
            ("POST", "/v1/connections/test", Role.VIEWER, self._test_connections),
            ("GET", "/v1/backups", Role.VIEWER, self._backups),
            ("GET", "/v1/backups/{id}", Role.VIEWER, self._backup),
            ("POST", "/v1/backups/{id}/hold", Role.OPERATOR, self._hold),
            ("POST", "/v1/backups/{id}/release", Role.OPERATOR, self._release),
            ("DELETE", "/v1/backups/{id}", Role.OPERATOR, self._delete),
            ("POST", "/v1/restore/plan", Role.OPERATOR, self._plan_restore),
            ("POST", "/v1/operations", Role.OPERATOR, self._submit),
            ("GET", "/v1/operations", Role.VIEWER, self._operations),
            ("GET", "/v1/operations/{id}", Role.VIEWER, self._operation),
            ("POST", "/v1/operations/{id}/cancel", Role.OPERATOR, self._cancel),
            ("GET", "/v1/operations/{id}/watch", Role.VIEWER, self._watch),
            ("GET", "/v1/health", Role.VIEWER, self._health),
            ("GET", "/v1/metrics", Role.VIEWER, metrics_handler(self._service)),
        ]
        for method, path, role, handler in routes:
            router.add_route(method, path, self._guarded(role, handler))

    def add_panel(self, router: web.UrlDispatcher, panel: Panel) -> None:
        """Declare what a panel offers, guarded like everything else."""
        for route in panel.routes():
            handler = _streaming(route) if isinstance(route, Stream) else _answering(route)
            router.add_route(route.method, route.path, self._guarded(route.role, handler))

    def _guarded(self, needed: Role, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            peer = _peer(request)
            with self._one_more(peer), speaking_for(_origin(peer)):
                try:
                    self.access.demand(peer, needed)
                    return await handler(request)
                except VyaError as error:
                    if self._refusals and (needed is Role.OPERATOR or isinstance(error, DeniedError)):
                        await self._refusals.tell(peer.name, request.method, route_of(request), error)
                    raise

        return guarded

    def _one_more(self, peer: Peer) -> AbstractContextManager[None]:
        return nullcontext() if self.access.role(peer) is Role.OPERATOR else self._crowd.one_more(peer)

    async def _status(self, _: web.Request) -> web.StreamResponse:
        return json_answer(await self._service.status())

    async def _config(self, _: web.Request) -> web.StreamResponse:
        return json_answer(self._service.config())

    async def _databases(self, request: web.Request) -> web.StreamResponse:
        return json_answer({"databases": await self._service.list_databases(request.query.get("instance"))})

    async def _test_connections(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        return json_answer({"connections": await self._service.test_connections(_text(body, "instance"))})

    async def _backups(self, request: web.Request) -> web.StreamResponse:
        """A page of the list; ``next``, where there may be more, is what the next one is to come ``after``."""
        query = request.query
        if query.get("newest") in {"1", "true"}:
            return json_answer({"backups": await self._service.newest_backups(query.get("instance"))})
        limit = min(_limit(query.get("limit"), None) or MAX_PAGE, MAX_PAGE)
        after = parse_place(query["after"]) if "after" in query else None
        found = await self._service.backups(query.get("instance"), query.get("database"), limit, after)
        following = place_of(found[-1]) if len(found) == limit else None
        return json_answer({"backups": found, "next": following})

    async def _backup(self, request: web.Request) -> web.StreamResponse:
        return json_answer({"backup": await self._service.backup(request.match_info["id"])})

    async def _hold(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        until = _text(body, "until")
        held = await self._service.hold(
            request.match_info["id"],
            _text(body, "note") or "",
            parse_time(until) if until else None,
            _peer(request).name,
        )
        return json_answer({"backup": held})

    async def _release(self, request: web.Request) -> web.StreamResponse:
        return json_answer({"backup": await self._service.release(request.match_info["id"], _peer(request).name)})

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        held_too = request.query.get("allow_held", "") in {"1", "true"}
        deleted = await self._service.delete(request.match_info["id"], _peer(request).name, allow_held=held_too)
        return json_answer({"backup": deleted})

    async def _plan_restore(self, request: web.Request) -> web.StreamResponse:
        return json_answer({"plan": await self._service.plan_restore(await _body(request))})

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        wanted = body.get("request", {})
        if not isinstance(wanted, dict):
            raise UsageError("'request' must be an object")
        kind = _choice(OperationKind, body.get("kind"), "kind")
        return json_answer({"operation": await self._service.submit(kind, wanted, _peer(request).name)}, 201)

    async def _operations(self, request: web.Request) -> web.StreamResponse:
        state = request.query.get("state")
        if state is not None:
            state = str(_choice(State, state, "state"))
        limit = _limit(request.query.get("limit"), 50)
        return json_answer({"operations": await self._service.operations(limit or 50, state)})

    async def _operation(self, request: web.Request) -> web.StreamResponse:
        return json_answer(await self._service.operation(request.match_info["id"]))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        return json_answer({"operation": await self._service.cancel(request.match_info["id"], _peer(request).name)})

    async def _health(self, _: web.Request) -> web.StreamResponse:
        good, body = await self._service.health()
        return json_answer(body, 200 if good else 503)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        async with aclosing(with_heartbeats(self._service.watch(request.match_info["id"]))) as lines:
            # The first line decides between an answer and a problem, so it is fetched before the head is sent.
            first = await anext(lines)
            headers = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
            response = web.StreamResponse(headers=headers)
            # A watcher leaves when it has seen enough: nobody is to be told.
            with suppress(ConnectionError):
                await response.prepare(request)
                await write_line(response, first)
                async for line in lines:
                    await write_line(response, line)
                await response.write_eof()
        return response


def _answering(route: Route) -> Handler:
    async def answering(request: web.Request) -> web.StreamResponse:
        return json_answer(await route.answer(await _asked(request)))

    return answering


def _streaming(route: Stream) -> Handler:
    async def streaming(request: web.Request) -> web.StreamResponse:
        async with aclosing(route.open(await _asked(request))) as pieces:
            # As with a watch: until the first piece there can still be a problem.
            first = await anext(pieces, b"")
            response = web.StreamResponse(headers={"Content-Type": route.content_type, "Cache-Control": "no-store"})
            try:
                await response.prepare(request)
                await write_piece(response, first)
                async for piece in pieces:
                    await write_piece(response, piece)
                await response.write_eof()
            except VyaError:
                # The status is out: only an answer without its end can say that this is not all.
                if request.transport is not None:
                    request.transport.abort()
            except ConnectionError:
                pass  # The reader has gone, and knows it.
        return response

    return streaming


async def _asked(request: web.Request) -> Asked:
    peer = _peer(request)
    return Asked(peer.name, await _body(request), request.query, request.match_info, _origin(peer).to_json())


def _origin(peer: Peer) -> Origin:
    """A client that works by itself asks from within its own process."""
    return Origin(peer.uid, peer.pid, "standalone" if peer.pid == os.getpid() else "control")


def _peer(request: web.Request) -> Peer:
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None:
        raise DeniedError("the peer has gone")
    try:
        return peer_of(sock)
    except OSError as error:
        raise DeniedError("the peer's user is not known") from error


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request; nothing at all is an empty object.

    Raises:
        UsageError: it is something else, or it takes too long.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.read()
    except TimeoutError:
        raise UsageError("the request's body did not arrive in time") from None
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise UsageError("the request's body is not JSON") from None
    if not isinstance(body, dict):
        raise UsageError("the request's body must be a JSON object")
    return body


def _text(body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{key!r} must be text")
    return value


def _limit(text: str | None, default: int | None) -> int | None:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 100_000:
        raise UsageError("'limit' must be a number from 1 to 100000")
    return int(text[:9])


def _choice(kind: type[_Choice], value: object, key: str) -> _Choice:
    try:
        return kind(str(value))
    except ValueError:
        raise UsageError(f"{key!r} must be one of {', '.join(kind)}") from None
