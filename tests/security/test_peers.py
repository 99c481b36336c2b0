"""Who may ask what of the control socket: every route of the real daemon, by every kind of peer.

``ROUTES`` says of each route what it needs. A route that is not in it, or that the daemon classifies otherwise, fails.
"""

from __future__ import annotations

import grp
import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.waiting import until
from vya_backupd.api.access import OVERFLOW_ID, Access, Peer, Role
from vya_backupd.api.control import control_app
from vya_backupd.api.crowd import MAX_REQUESTS_OF_VIEWERS, MAX_REQUESTS_PER_VIEWER, Crowd
from vya_backupd.errors import BusyError
from vya_backupd.testing.product import Product

NOBODY = 65534
STRANGER_GID = 1_234_567
SECRETS = ("canary-of-a-password", "canary-of-a-webhook", "canary-of-a-mailbox")

LOOKING = {
    ("GET", "/v1/status"),
    ("GET", "/v1/config"),
    ("GET", "/v1/databases"),
    ("POST", "/v1/connections/test"),
    ("GET", "/v1/backups"),
    ("GET", "/v1/backups/{id}"),
    ("GET", "/v1/operations"),
    ("GET", "/v1/operations/{id}"),
    ("GET", "/v1/operations/{id}/watch"),
    ("GET", "/v1/health"),
    ("GET", "/v1/metrics"),
    ("GET", "/v1/retention/plan"),
    ("GET", "/v1/schedule"),
    ("GET", "/v1/throttle"),
}
"""For viewers: names, sizes, states and errors; no rows, no secrets, nothing that changes anything."""
ACTING = {
    ("POST", "/v1/backups/{id}/hold"),
    ("POST", "/v1/backups/{id}/release"),
    ("DELETE", "/v1/backups/{id}"),
    ("POST", "/v1/restore/plan"),
    ("POST", "/v1/operations"),
    ("POST", "/v1/operations/{id}/cancel"),
    ("POST", "/v1/extract"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/audit/verify"),
    ("GET", "/v1/doctor"),
    ("POST", "/v1/notify/test"),
    ("POST", "/v1/schedule/pause"),
    ("POST", "/v1/schedule/resume"),
    ("POST", "/v1/throttle/set"),
    ("POST", "/v1/throttle/reset"),
}
"""For operators alone: whatever changes something, reads rows, or tells what others did."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become other users: run the tests with sudo")


class UnixConnection(http.client.HTTPConnection):
    """HTTP to the control socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("daemon", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(str(self._path))

    def ask(self, method: str, path: str, body: bytes = b"{}") -> tuple[int, bytes]:
        """Status and body; 0 where connecting is not allowed."""
        try:
            self.request(method, path.replace("{id}", "none-such"), None if method == "GET" else body)
        except PermissionError:
            return 0, b""
        answer = self.getresponse()
        return answer.status, answer.read()


def as_user(uid: int, gid: int, groups: tuple[int, ...], work: Callable[[], Any]) -> Any:
    """What ``work`` gives in a forked process of this user; as JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _become(uid, gid, groups, work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return json.loads(told)


def _become(uid: int, gid: int, groups: tuple[int, ...], work: Callable[[], Any], writer: int) -> NoReturn:
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        data = json.dumps(work()).encode()
        while data:
            data = data[os.write(writer, data) :]
    finally:
        os._exit(0)


class Guarded:
    """A daemon that knows a group of operators and one of viewers."""

    def __init__(self, product: Product, operators: int, viewers: int) -> None:
        self.product = product
        self.operators = operators
        self.viewers = viewers

    def statuses(self, gid: int = NOBODY, groups: tuple[int, ...] = (), uid: int = NOBODY) -> dict[str, int]:
        """What a user of these groups is answered on every route."""

        def ask() -> dict[str, int]:
            found = {}
            for method, path in sorted(LOOKING | ACTING):
                connection = UnixConnection(self.product.socket_path)
                found[f"{method} {path}"] = connection.ask(method, path, b'{"unknown": 1}')[0]
                connection.close()
            return found

        answered: dict[str, int] = as_user(uid, gid, groups, ask)
        return answered


def _groups() -> list[grp.struct_group]:
    found = [group for group in grp.getgrall() if group.gr_gid not in {0, NOBODY, STRANGER_GID} and not group.gr_mem]
    if len(found) < 2:
        pytest.skip("needs two groups in /etc/group: make them with groupadd")
    return found[:2]


@pytest.fixture(scope="module")
def guarded(closed_port: int) -> Iterator[Guarded]:
    operators, viewers = _groups()
    root = Path(tempfile.mkdtemp(prefix="vya-peers-"))
    root.chmod(0o755)
    password, webhook, mailbox = SECRETS
    entry = {
        "id": "one",
        "type": "mysql",
        "host": "127.0.0.1",
        "port": closed_port,
        "username": "u",
        "password": password,
    }
    config = {
        "control": {"operators": [operators.gr_name, "no-such-group"], "viewers": [viewers.gr_name]},
        "notifications": {
            "email": {"enabled": False, "smtp_host": "127.0.0.1", "username": "u", "password": mailbox},
            "webhooks": [{"url": f"https://127.0.0.1:{closed_port}/{webhook}", "secret": webhook}],
        },
    }
    try:
        with Product(root, [entry], config=config) as product:
            yield Guarded(product, operators.gr_gid, viewers.gr_gid)
    finally:
        shutil.rmtree(root)


def test_every_route_of_the_daemon_is_classified() -> None:
    from tests.api.service import RecordedService
    from vya_backupd import unattended

    panels = [value for name, value in vars(unattended).items() if name.endswith("Panel") and name != "Panel"]
    made = [panel.__new__(panel) for panel in panels]
    app = control_app(RecordedService(), Access((), ()), made)
    there = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    assert there == LOOKING | ACTING
    by_panels = {(route.method, route.path): route.role for panel in made for route in panel.routes()}
    assert len(by_panels) > 10
    assert {route for route, role in by_panels.items() if role is Role.VIEWER} == LOOKING & by_panels.keys()
    assert {route for route, role in by_panels.items() if role is Role.OPERATOR} == ACTING & by_panels.keys()


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("way", ["primary", "supplementary"])
def test_each_route_is_for_whom_it_is(guarded: Guarded, way: str) -> None:
    def of(group: int) -> dict[str, int]:
        return guarded.statuses(gid=group) if way == "primary" else guarded.statuses(groups=(STRANGER_GID, group))

    looking, acting = ({f"{method} {path}" for method, path in routes} for routes in (LOOKING, ACTING))
    answered = of(guarded.viewers)
    assert {route for route, status in answered.items() if status == 403} == acting
    assert not {route for route in looking if answered[route] in {0, 401, 403, 500}}, answered
    answered = of(guarded.operators)
    assert not [route for route, status in answered.items() if status in {0, 401, 403, 500}], answered


@needs_root
@pytest.mark.root
def test_nobody_else_is_told_anything(guarded: Guarded) -> None:
    assert set(guarded.statuses(groups=(STRANGER_GID,)).values()) == {0}
    mode = guarded.product.socket_path.stat().st_mode
    guarded.product.socket_path.chmod(0o666)
    try:
        for uid, gid in ((NOBODY, NOBODY), (NOBODY, STRANGER_GID), (4_000_000, 4_000_000)):
            assert set(guarded.statuses(uid=uid, gid=gid).values()) == {403}, (uid, gid)
        # More groups than the kernel's answer has room for: the database of groups does not know the user at all.
        many = tuple(range(100_000, 100_300))
        assert set(guarded.statuses(uid=4_000_000, gid=4_000_000, groups=many).values()) == {403}
    finally:
        guarded.product.socket_path.chmod(mode)
    assert guarded.product.events("control.unknown_group")[0]["group"] == "no-such-group"


@needs_root
@pytest.mark.root
def test_viewers_see_no_secret(guarded: Guarded) -> None:
    def look() -> list[list[Any]]:
        seen: list[list[Any]] = []
        for method, path in sorted(LOOKING | ACTING):
            connection = UnixConnection(guarded.product.socket_path)
            status, body = connection.ask(method, path)
            seen.append([path, status, body.decode()])
            connection.close()
        return seen

    seen = as_user(NOBODY, guarded.viewers, (), look)
    assert sum(status == 200 for _, status, _ in seen) >= 8
    for path, _, body in seen:
        assert not [secret for secret in SECRETS if secret in body], path


@needs_root
@pytest.mark.root
def test_a_right_that_is_taken_away_is_gone_for_those_who_are_connected(guarded: Guarded) -> None:
    product, before = guarded.product, guarded.product.settings["control"]
    (asked, tell_asked), (wait, go_on) = os.pipe(), os.pipe()

    def ask_before_and_after() -> list[int]:
        connection = UnixConnection(product.socket_path)
        first = connection.ask("POST", "/v1/schedule/resume")[0]
        sock = connection.sock
        os.write(tell_asked, b"1")
        os.read(wait, 1)
        later = [connection.ask("POST", "/v1/schedule/resume")[0], connection.ask("GET", "/v1/status")[0]]
        return [first, *later, int(connection.sock is sock)]

    told: list[list[int]] = []
    asking = threading.Thread(target=lambda: told.append(as_user(NOBODY, guarded.operators, (), ask_before_and_after)))
    asking.start()
    try:
        assert os.read(asked, 1) == b"1"
        _reload(product, before | {"operators": ["root"]})
    finally:
        os.write(go_on, b"1")
        asking.join()
        _reload(product, before)
        for end in (asked, tell_asked, wait, go_on):
            os.close(end)
    assert told == [[200, 403, 403, 1]]


def _reload(product: Product, control: dict[str, Any]) -> None:
    product.settings["control"] = control
    product.write_config()
    reloads = len(product.events("config.reloaded"))
    product.signal(signal.SIGHUP)
    until(lambda: len(product.events("config.reloaded")) > reloads)


@needs_root
@pytest.mark.root
def test_knocking_again_and_again_fills_no_log(guarded: Guarded) -> None:
    def knock() -> list[int]:
        connection = UnixConnection(guarded.product.socket_path)
        return [connection.ask("POST", "/v1/throttle/reset")[0] for _ in range(300)]

    before = len(guarded.product.log())
    assert set(as_user(NOBODY, guarded.viewers, (), knock)) == {403}
    assert len(guarded.product.log()) - before < 10_000
    denied = [each for each in guarded.product.events("request.denied") if "throttle/reset" in str(each)]
    assert 1 <= len(denied) < 50


def test_the_number_of_strangers_gives_no_right(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid == OVERFLOW_ID]
    groups = [entry.gr_name for entry in grp.getgrall() if entry.gr_gid == OVERFLOW_ID]
    access = Access(groups, groups)
    assert access.role(Peer(1, 4_000_000, frozenset({OVERFLOW_ID}))) is Role.NONE, (names, groups)
    monkeypatch.setattr(os, "geteuid", lambda: OVERFLOW_ID)
    assert access.role(Peer(1, OVERFLOW_ID, frozenset({OVERFLOW_ID}))) is Role.NONE
    assert access.role(Peer(os.getpid(), OVERFLOW_ID, frozenset({OVERFLOW_ID}))) is Role.OPERATOR
    assert access.role(Peer(1, 0, frozenset())) is Role.OPERATOR


def test_viewers_leave_places_for_operators() -> None:
    crowd, opened = Crowd(), []
    for number in range(MAX_REQUESTS_OF_VIEWERS):
        opened.append(crowd.one_more(Peer(1, number // MAX_REQUESTS_PER_VIEWER, frozenset())))
        opened[-1].__enter__()
    for uid in (0, 4_000_000):
        with pytest.raises(BusyError) as refused, crowd.one_more(Peer(1, uid, frozenset())):
            pass
        assert refused.value.code == "queue_full"
    opened.pop().__exit__(None, None, None)
    with crowd.one_more(Peer(1, 4_000_000, frozenset())):
        pass
