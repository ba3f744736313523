"""Addresses: where their copies lie, that these are whole or not there, and that nothing is downloaded twice."""

import base64
from collections.abc import Iterator
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import logging
from pathlib import Path
import sys
import threading
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec
import pytest

from inspire_fast.checkpoints import download, remote
from inspire_fast.checkpoints.remote import SHIPPED, cached_path, fetch, is_address, local_path

FILES = {"params/_METADATA": b"{}", "params/d/0001": b"\x00\x01" * 5000, "assets/libero/norm_stats.json": b"[1]"}
ADDRESS = "memory://bucket/checkpoints/base"


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """A bucket in memory: a checkpoint, and a neighbour whose name begins alike."""
    system = fsspec.filesystem("memory")
    for name, content in FILES.items():
        system.pipe(f"/bucket/checkpoints/base/{name}", content)
    system.pipe("/bucket/checkpoints/base_other/params/d/0002", b"another's")
    yield system
    system.rm("/bucket", recursive=True)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_copies_lie_where_openpi_puts_them(tmp_path, monkeypatch):
    address = "gs://openpi-assets/checkpoints/pi0_fast_base"
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path))
    assert cached_path(address) == tmp_path / "openpi-assets/checkpoints/pi0_fast_base"
    monkeypatch.delenv("OPENPI_DATA_HOME")
    assert cached_path(address) == Path.home() / ".cache/openpi/openpi-assets/checkpoints/pi0_fast_base"
    assert cached_path(f"{address}/", tmp_path) == tmp_path / "openpi-assets/checkpoints/pi0_fast_base"
    cached_path(address, tmp_path).mkdir(parents=True)
    assert fetch(address, tmp_path) == cached_path(address, tmp_path)  # nothing is asked for
    for wrong in ("gs://", "gs://bucket/../../etc"):
        with pytest.raises(ValueError, match="names no folder in a bucket"):
            cached_path(wrong, tmp_path)


def test_a_path_is_no_address(store, tmp_path):
    assert [is_address(s) for s in ("gs://a/b", "a/b", Path("a/b"), Path("gs://a/b"))] == [True, False, False, False]
    assert local_path("~/a") == Path.home() / "a"
    assert local_path(Path("a/b")) == Path("a/b")
    assert local_path(ADDRESS, tmp_path) == tmp_path / "bucket/checkpoints/base"


def test_a_shipped_checkpoint_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert local_path("inspire_acting") == SHIPPED["inspire_acting"]
    (tmp_path / "inspire_acting").mkdir()
    assert local_path("inspire_acting") == Path("inspire_acting")


def test_a_folder_is_copied_whole(store, tmp_path):
    folder = fetch(ADDRESS, tmp_path)
    assert content(folder) == FILES
    assert sorted(p.name for p in folder.parent.iterdir()) == ["base", "base.lock"]


def test_a_file_is_copied(store, tmp_path):
    store.pipe("/bucket/pt_224.npz", b"npz")
    assert fetch("memory://bucket/pt_224.npz", tmp_path).read_bytes() == b"npz"
    assert sorted(p.name for p in (tmp_path / "bucket").iterdir()) == ["pt_224.lock", "pt_224.npz"]


def killed_at(store: fsspec.AbstractFileSystem, number: int, monkeypatch) -> list[str]:
    """The process dies when the `number`-th file has half arrived; which files are asked for is listed."""
    asked: list[str] = []
    get_file = type(store).get_file

    def dying(self, path: str, to: str, **options: object) -> None:
        asked.append(path.partition("/base/")[2])
        if len(asked) == number:
            Path(to).write_bytes(b"half")
            raise KeyboardInterrupt
        get_file(self, path, to, **options)

    monkeypatch.setattr(type(store), "get_file", dying)
    return asked


def test_a_killed_download_goes_on(store, tmp_path, monkeypatch):
    asked = killed_at(store, 2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fetch(ADDRESS, tmp_path)
    assert not cached_path(ADDRESS, tmp_path).exists()
    assert content(fetch(ADDRESS, tmp_path)) == FILES
    first, second, third = sorted(FILES)
    assert asked == [first, second, second, third]
    assert not list((tmp_path / "bucket/checkpoints").glob(".*"))


def test_a_killed_download_of_what_has_changed_begins_anew(store, tmp_path, monkeypatch):
    asked = killed_at(store, 2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fetch(ADDRESS, tmp_path)
    first = min(FILES)
    store.pipe(f"/bucket/checkpoints/base/{first}", b"[2]")  # as long as before
    assert content(fetch(ADDRESS, tmp_path)) == FILES | {first: b"[2]"}
    assert asked[2:] == sorted(FILES)


def test_what_arrives_changed_is_no_copy(store, tmp_path, monkeypatch):
    monkeypatch.setattr(type(store), "get_file", lambda self, path, to, **_: Path(to).write_bytes(b"{"))
    with pytest.raises(FileNotFoundError, match=r"norm_stats\.json arrived with 1 bytes of 3.*Try again.*gsutil"):
        fetch(ADDRESS, tmp_path)
    assert not cached_path(ADDRESS, tmp_path).exists()


def test_a_checksum_is_compared(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    md5 = base64.b64encode(hashlib.md5(b"abc").digest()).decode()
    file = download.RemoteFile(path="b/a", name="a", size=3, md5=md5, version="1")
    download._require_same(file, tmp_path / "a")
    (tmp_path / "a").write_bytes(b"abd")
    with pytest.raises(OSError, match=rf"b/a arrived with the checksum .* \(MD5\) instead of {md5}"):
        download._require_same(file, tmp_path / "a")


def test_a_disk_that_is_too_small_is_told_before_anything_arrives(store, tmp_path, monkeypatch):
    asked = killed_at(store, 99, monkeypatch)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=download.SPARE_BYTES + 10_004))
    with pytest.raises(ValueError, match=r"0\.0 GB are to be downloaded, .* 0\.3 GB free\. Make room, or"):
        fetch(ADDRESS, tmp_path)
    assert asked == []
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=download.SPARE_BYTES + 10_005))
    assert content(fetch(ADDRESS, tmp_path)) == FILES


def test_nothing_at_an_address_and_unknown_addresses_are_told(store, tmp_path):
    with pytest.raises(
        FileNotFoundError, match="could not be downloaded: FileNotFoundError: there is nothing at memory://bucket/no"
    ):
        fetch("memory://bucket/no", tmp_path)
    with pytest.raises(ValueError, match=r"'gx://bucket/no'.*Protocol not known.*gs://bucket/path for instance"):
        fetch("gx://bucket/no", tmp_path)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs.core", None)
    address = "gs://openpi-assets/checkpoints/pi0_fast_droid"
    folder = tmp_path / "openpi-assets/checkpoints"
    with pytest.raises(
        FileNotFoundError, match=rf"`uv sync --extra gcs`.*gsutil -m cp -r {address} {folder}/.*OPENPI_DATA_HOME"
    ):
        fetch(address, tmp_path)


def test_a_second_process_waits_for_the_first(store, tmp_path, monkeypatch, caplog):
    """Locks are of open files, not of processes, so that two threads meet as two processes do."""
    caplog.set_level(logging.INFO, logger=remote.__name__)
    asked = killed_at(store, 99, monkeypatch)
    target, found = cached_path(ADDRESS, tmp_path), []
    target.parent.mkdir(parents=True)
    second = threading.Thread(target=lambda: found.append(fetch(ADDRESS, tmp_path)))
    with remote._locked(target):
        second.start()
        second.join(0.3)
        assert second.is_alive()
        target.mkdir()  # the first one is done
    second.join(10)
    assert (found, asked) == ([target], [])
    assert "waiting for it" in caplog.text


class Storage(BaseHTTPRequestHandler):
    """The three answers of Google's storage that a download needs: a listing, an object, its content."""

    objects: dict[str, bytes]
    anonymous: list[bool]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.anonymous.append("authorization" not in {key.lower() for key in self.headers})
        before, _, name = url.path.partition("/b/bucket/o")
        name = unquote(name.strip("/"))
        if before == "/download/storage/v1" and name in self.objects:
            start, end = 0, len(self.objects[name])
            if "Range" in self.headers:
                start, end = (int(n) for n in self.headers["Range"].removeprefix("bytes=").split("-"))
            return self.answer(self.objects[name][start : end + 1], 206 if "Range" in self.headers else 200)
        if before == "/storage/v1" and name in self.objects:
            return self.answer(json.dumps(self.item(name)).encode())
        if before == "/storage/v1" and not name:
            items = [self.item(n) for n in sorted(self.objects) if n.startswith(query.get("prefix", ""))]
            return self.answer(json.dumps({"kind": "storage#objects", "items": items}).encode())
        return self.answer(b'{"error": {"code": 404, "message": "Not Found"}}', 404)

    def item(self, name: str) -> dict[str, str]:
        digest = base64.b64encode(hashlib.md5(self.objects[name]).digest()).decode()
        size = str(len(self.objects[name]))
        return {"name": name, "bucket": "bucket", "size": size, "md5Hash": digest, "generation": "1"}

    def answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_bucket_of_googles_is_read_anonymously(tmp_path, monkeypatch):
    pytest.importorskip("gcsfs", reason="the extra `gcs` is not installed")
    objects = {f"checkpoints/base/{name}": body for name, body in FILES.items()} | {"checkpoints/base/": b""}
    handler = type("Handler", (Storage,), {"objects": objects, "anonymous": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_address[1]}")
        assert content(fetch("gs://bucket/checkpoints/base", tmp_path)) == FILES
        assert set(handler.anonymous) == {True}
        with pytest.raises(FileNotFoundError, match=r"gs://bucket/no is not in openpi's cache"):
            fetch("gs://bucket/no", tmp_path)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
