"""Errors as HTTP answers: ``{"error": {...}}`` with the wire form of a ``VyaError``; strangers learn nothing more."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from vya_backupd.errors import NotFoundError, UsageError, VyaError

_log = structlog.get_logger("vya.api")

STATUS_OF_EXIT_CODE = {2: 400, 4: 404, 5: 422, 6: 409, 7: 503, 8: 403, 78: 422, 130: 409}
"""HTTP status by the exit code of an error's class; everything else is 500."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_answer(body: Any, status: int = 200) -> web.Response:
    """A JSON body that is never cached."""
    text = json.dumps(body, ensure_ascii=False, default=str)
    return web.json_response(text=text + "\n", status=status, headers={"Cache-Control": "no-store"})


def problem(error: VyaError, status: int | None = None) -> web.Response:
    """The answer for an error."""
    return json_answer({"error": error.to_json()}, status or STATUS_OF_EXIT_CODE.get(error.exit_code, 500))


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem; the unexpected is logged and told without detail."""
    try:
        return await handler(request)
    except VyaError as error:
        return problem(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problem(_error_of(request, error), error.status)
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001 - a stranger gets a problem, the log gets the trace
        _log.exception("api.internal_error", method=request.method, route=route_of(request))
        return problem(VyaError("unexpected failure inside the daemon", hint="its log has the trace"))


def _error_of(request: web.Request, error: web.HTTPException) -> VyaError:
    if error.status == 404:
        return NotFoundError(f"no such route: {request.path}", code="usage", hint="is the client of another version?")
    if error.status == 413:
        return UsageError("the request's body is too large", hint="a body has at most 1 MiB")
    return UsageError(f"{request.method} {request.path}: {error.reason}")


def route_of(request: web.Request) -> str:
    """The pattern, not the path: a path may carry names that do not belong in a log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"
