"""Fetching from a server on this machine: whole, broken, wrong, busy and missing files."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from sets_on_disk import pair_set, put

from fuse.data import fetch


class Server(NamedTuple):
    """What it answers by path (bytes, or a way to fail), and what it was asked for."""

    base: str
    answers: dict[str, bytes | str]
    asked: list[str]


@pytest.fixture
def server() -> Iterator[Server]:
    answers: dict[str, bytes | str] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer = answers.get(self.path, "404")
            if answer == "busy once":
                answers[self.path] = b"whole"
                self.send_response(503)
                self.send_header("Retry-After", "7")
                self.end_headers()
            elif isinstance(answer, str) and answer.startswith("cut "):
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"x" * 10)
            elif isinstance(answer, str):
                self.send_error(int(answer))
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Server(f"http://127.0.0.1:{running.server_port}", answers, asked)
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which take no time here."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


def address(place: str) -> str:
    role, name = place.split("/")
    return f"/who/what/c0ffee/a%20b/{role}_{name}"


def on_disk(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_everything_arrives_under_its_name_and_a_second_fetch_asks_for_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, files, entries = pair_set(tmp_path, monkeypatch)
    server.answers.update({address(place): found for place, found in files.items()})
    done: list[int] = []
    assert fetch.fetch(entries, data.folder, server.base, done.append) == []
    assert on_disk(data.folder) == files
    assert done == [entry.bytes for entry in entries]
    assert sorted(server.asked) == sorted(map(address, files))
    assert data.stems("all") == ["01", "02", "03"]

    server.asked.clear()
    (data.folder / "vi/02.png").unlink()
    (data.folder / "ir/01.png").write_bytes(bytes(len(files["ir/01.png"])))
    assert fetch.fetch(entries, data.folder, server.base) == []
    assert on_disk(data.folder) == files
    assert sorted(server.asked) == [address("ir/01.png"), address("vi/02.png")]  # only what was not right


def test_what_fails_is_listed_and_nothing_half_written_is_left(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, files, entries = pair_set(tmp_path, monkeypatch)
    server.answers.update({address(place): found for place, found in files.items()})
    server.answers[address("ir/01.png")] = "404"
    server.answers[address("vi/01.png")] = files["vi/01.png"] + b"!"
    server.answers[address("ir/02.png")] = "cut short"
    server.answers[address("vi/02.png")] = "500"
    failures = fetch.fetch(entries, data.folder, server.base)
    assert failures[0] == "ir/01.png: the server answered 404"
    assert failures[1] == "vi/01.png: came with other bytes than the manifest says"
    assert failures[2].startswith("ir/02.png: broken off")
    assert failures[3] == "vi/02.png: the server answered 500"
    assert len(failures) == 4
    assert on_disk(data.folder) == {place: files[place] for place in ("ir/03.png", "vi/03.png")}
    asked = {place: server.asked.count(address(place)) for place in files}
    assert asked["ir/01.png"] == 1  # asking again does not help
    assert asked["vi/02.png"] == asked["ir/02.png"] == 1 + fetch.RETRIES


def test_a_busy_server_is_given_the_time_it_asks_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slept: list[float]
) -> None:
    data, _, entries = pair_set(tmp_path, monkeypatch)
    place = entries[0].place
    server.answers[address(place)] = "busy once"
    fetch.fetch(entries[:1], data.folder, server.base)
    assert slept[0] == 7
    assert server.asked.count(address(place)) > 1


def test_a_server_that_cannot_be_reached_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _, entries = pair_set(tmp_path, monkeypatch)
    failures = fetch.fetch(entries, data.folder, "http://127.0.0.1:9")
    assert len(failures) == fetch.GIVE_UP + 1
    assert "ir/01.png: cannot be reached" in failures[0]
    assert failures[-1] == "3 more were not tried, since http://127.0.0.1:9 cannot be reached"
    assert not data.folder.exists()  # no empty folders that look like a set


def test_a_file_of_another_ending_in_the_place_is_left(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, files, entries = pair_set(tmp_path, monkeypatch)
    put(data, {"ir/01.bmp": b"mine"})
    server.answers.update({address(place): found for place, found in files.items()})
    (failure,) = fetch.fetch(entries, data.folder, server.base)
    assert "ir/01.bmp is in its place; move it away" in failure
    assert (data.folder / "ir/01.bmp").read_bytes() == b"mine"
    assert not (data.folder / "ir/01.png").exists()
