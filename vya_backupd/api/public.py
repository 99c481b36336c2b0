"""The public site: health, readiness, liveness and metrics, for anybody who reaches the port; GET and HEAD only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from vya_backupd.api.problems import json_answer, problems
from vya_backupd.api.service import Probes

MAX_CONNECTIONS = 64


def public_app(probes: Probes, *, path: str = "/health", with_metrics: bool = True) -> web.Application:
    """The application. ``path`` is where health is; readiness and liveness are below it."""
    app = web.Application(middlewares=[problems], client_max_size=1)
    add_probe_routes(app, probes, path, with_metrics=with_metrics)
    return app


def add_probe_routes(app: web.Application, probes: Probes, path: str, *, with_metrics: bool = True) -> None:
    """Serve the probes from an application; the metrics lie at ``/metrics`` whatever ``path`` is."""

    async def health(_: web.Request) -> web.Response:
        good, body = await probes.health()
        return json_answer(body, 200 if good else 503)

    async def ready(_: web.Request) -> web.Response:
        good, body = probes.ready()
        return json_answer(body, 200 if good else 503)

    async def live(_: web.Request) -> web.Response:
        return json_answer(probes.live())

    path = path.rstrip("/")
    app.router.add_get(path or "/", health)
    app.router.add_get(f"{path}/ready", ready)
    app.router.add_get(f"{path}/live", live)
    if with_metrics:
        app.router.add_get("/metrics", metrics_handler(probes))


def metrics_handler(probes: Probes) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that answers with metrics in the format that the caller prefers.

    Those who ask while others are being answered are given one answer together: it is the one thing here that costs
    something to make. It is always made after they asked.
    """
    to_come: dict[bool, asyncio.Task[tuple[bytes, str]]] = {}
    turn = asyncio.Lock()

    async def make(wanted: bool) -> tuple[bytes, str]:
        async with turn:
            del to_come[wanted]
            return await probes.metrics(wanted)

    async def metrics(request: web.Request) -> web.Response:
        wanted = "application/openmetrics-text" in request.headers.get("Accept", "")
        if wanted not in to_come:
            to_come[wanted] = asyncio.create_task(make(wanted), name="metrics")
        body, content_type = await asyncio.shield(to_come[wanted])
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return metrics
