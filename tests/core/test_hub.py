"""The hub, against a local stand-in of its HTTP interface that huggingface_hub itself talks to."""

from __future__ import annotations

import base64
from collections.abc import Iterator
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import logging
from pathlib import Path
import re
import shutil
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.remote import SHIPPED
from inspire_fast.commands import convert_dataset, label_dataset, push_to_hub
from inspire_fast.core import hub
from inspire_fast.data.converters.base import Storage
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.labeling.hindsight.producer import Hindsight
from inspire_fast.policy.load import open_checkpoint
from inspire_fast.training.dataset_config import DataConfig

TOKEN = "hf_secretsecretsecret"


class StandIn:
    """Repositories by name; each has commits, and each commit its files."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []
        self.damage: str = ""  # name of a file whose bytes arrive changed
        self.cut: str = ""  # name of a file whose connection ends in the middle, once

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        commits = self.repos.setdefault(repo, {})
        oid = hashlib.sha1(repr((repo, sorted(files.items()), len(commits))).encode()).hexdigest()
        commits[oid] = files
        commits["main"] = files
        return oid

    def oid(self, repo: str, revision: str) -> str | None:
        commits = self.repos[repo]
        if revision == "main":
            return next(oid for oid, files in reversed(commits.items()) if oid != "main" and files is commits["main"])
        return revision if revision in commits else None


def handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:  # noqa: C901  # one class of four routes
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Keeps the tests' output quiet."""

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def refuse(self, status: int, code: str) -> None:
            self.answer(status, b"{}", X_Error_Code=code, X_Error_Message=code)

        def repo_of(self, path: str) -> tuple[str, str] | None:
            """Name of the repository and the rest of the path; None after a refusal."""
            match = re.match(r"/(?:api/)?(?:models/|datasets/)?([\w.-]+/[\w.-]+)/(.*)", path)
            assert match, path
            name, rest = match.groups()
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if name not in stand_in.repos or (name in stand_in.private and not allowed):
                self.refuse(404 if allowed else 401, "RepoNotFound")
                return None
            return name, rest

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            stand_in.requests.append(f"{self.command} {path}")
            if (found := self.repo_of(path)) is None:
                return
            name, rest = found
            kind, revision, *below = rest.split("/", 2)
            if (oid := stand_in.oid(name, revision)) is None:
                self.refuse(404, "RevisionNotFound")
                return
            files = stand_in.repos[name][oid]
            if kind == "tree":
                entries = [
                    {"type": "file", "path": f, "size": len(c), "oid": blob(c)} for f, c in sorted(files.items())
                ]
                self.answer(200, json.dumps(entries).encode(), Content_Type="application/json")
                return
            if kind == "revision":
                siblings = [{"rfilename": f, "size": len(c), "blobId": blob(c)} for f, c in sorted(files.items())]
                info = {"_id": "1", "id": name, "sha": oid, "siblings": siblings, "private": False, "tags": []}
                self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
                return
            content = files.get(below[0])
            if content is None:
                self.refuse(404, "EntryNotFound")
                return
            headers = {"ETag": f'"{blob(content)}"', "X_Repo_Commit": oid, "Accept_Ranges": "bytes"}
            begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            if self.command == "GET" and stand_in.damage == below[0]:
                content = bytes(len(content))
            if self.command == "GET" and stand_in.cut == below[0]:
                stand_in.cut = ""
                self.send_response(200)
                for key, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            self.answer(206 if begin else 200, content[begin:], **headers)

        do_HEAD = do_GET  # noqa: N815  # the server's names

        def do_POST(self) -> None:
            path = unquote(urlsplit(self.path).path)
            stand_in.requests.append(f"{self.command} {path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.refuse(401, "Unauthorized")
                return
            if path == "/api/validate-yaml":
                self.answer(200, b'{"errors": [], "warnings": []}')
                return
            if path == "/api/repos/create":
                wanted = json.loads(body)
                name = f"{wanted['organization']}/{wanted['name']}"
                if name in stand_in.repos:
                    self.answer(409, json.dumps({"url": f"http://x/{name}"}).encode())
                    return
                stand_in.commit(name, {})
                if "private" in (wanted.get("visibility"), wanted.get("private") and "private"):
                    stand_in.private.add(name)
                self.answer(200, json.dumps({"url": f"http://{self.headers['Host']}/{name}"}).encode())
                return
            found = self.repo_of(path)
            assert found
            if "/preupload/" in path:
                names = [entry["path"] for entry in json.loads(body)["files"]]
                modes = [{"path": n, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for n in names]
                self.answer(200, json.dumps({"files": modes}).encode())
                return
            files = dict(stand_in.repos[found[0]]["main"])
            for line in filter(None, body.decode().splitlines()):
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            oid = stand_in.commit(found[0], files)
            url = f"http://{self.headers['Host']}/{found[0]}/commit/{oid}"
            self.answer(200, json.dumps({"commitUrl": url, "commitOid": oid, "success": True}).encode())

    return Handler


def blob(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A hub on this machine, an empty cache, and nobody logged in."""
    made = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    from huggingface_hub import constants

    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


FILES = {"README.md": b"# card\n", "params/a": bytes(range(256)) * 40, "assets/contract.json": b"{}"}


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("hf://org/name", ("org/name", None, "")),
        ("hf:/org/name", ("org/name", None, "")),
        ("hf://org/name@v1.0", ("org/name", "v1.0", "")),
        ("hf://org/na.me-2@abc/one/two/", ("org/na.me-2", "abc", "one/two")),
    ],
)
def test_addresses(address: str, parts: tuple[str, str | None, str]) -> None:
    found = hub.HubAddress.parse(address)
    assert (found.repo, found.revision, found.folder) == parts
    assert hub.is_hub_address(Path(address))
    assert hub.HubAddress.parse(str(found)) == found


@pytest.mark.parametrize("address", ["hf://name", "hf://org/name/../../etc", "hf://", "hf://org/na me", "gs://a/b"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="hf://org/name"):
        hub.HubAddress.parse(address)


def test_a_repository_is_downloaded_once_and_then_used_without_the_network(stand_in: StandIn) -> None:
    stand_in.commit("org/policy", FILES)
    folder = hub.fetch("hf://org/policy")
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == FILES
    asked = len(stand_in.requests)
    assert hub.fetch("hf://org/policy") == folder
    assert len(stand_in.requests) == asked


def test_a_branch_stays_at_its_commit_until_it_is_refreshed(
    stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    first = stand_in.commit("org/policy", FILES)
    with caplog.at_level(logging.INFO):
        assert hub.fetch("hf://org/policy").name == first
    assert f"hf://org/policy@{first} pins it" in caplog.text
    second = stand_in.commit("org/policy", {**FILES, "README.md": b"# newer\n"})
    assert hub.fetch("hf://org/policy").name == first
    assert hub.fetch("hf://org/policy", refresh=True).name == second
    assert (hub.fetch(f"hf://org/policy@{first}") / "README.md").read_bytes() == b"# card\n"


def test_a_folder_of_a_dataset(stand_in: StandIn) -> None:
    stand_in.commit("org/data", FILES)
    folder = hub.fetch(Path("hf://org/data@main/params"), "dataset")
    assert [p.name for p in folder.iterdir()] == ["a"]
    whole = hub.fetch("hf://org/data", "dataset")  # the part that is there already does not count as all of it
    assert {p.relative_to(whole).as_posix() for p in whole.rglob("*") if p.is_file()} == set(FILES)
    with pytest.raises(FileNotFoundError, match="has no 'nothing' at commit"):
        hub.fetch("hf://org/data/nothing", "dataset")


def test_a_download_that_was_cut_goes_on(stand_in: StandIn) -> None:
    stand_in.commit("org/policy", FILES)
    stand_in.cut = "params/a"
    try:
        folder = hub.fetch("hf://org/policy")
    except FileNotFoundError:  # huggingface_hub may retry by itself
        folder = hub.fetch("hf://org/policy")
    assert (folder / "params" / "a").read_bytes() == FILES["params/a"]


def test_a_damaged_file_is_not_kept(stand_in: StandIn) -> None:
    stand_in.commit("org/policy", FILES)
    stand_in.damage = "params/a"
    with pytest.raises(FileNotFoundError, match=r"params/a arrived damaged.*try again"):
        hub.fetch("hf://org/policy")
    stand_in.damage = ""
    assert (hub.fetch("hf://org/policy") / "params" / "a").read_bytes() == FILES["params/a"]


def test_what_is_not_there_is_said(stand_in: StandIn) -> None:
    stand_in.commit("org/policy", FILES)
    with pytest.raises(FileNotFoundError, match=r"no model org/other on the hub, or it is private"):
        hub.fetch("hf://org/other")
    with pytest.raises(FileNotFoundError, match=r"no revision 'v9'"):
        hub.fetch("hf://org/policy@v9")


def test_without_a_network_the_remedy_is_said(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FileNotFoundError, match="cannot be reached"):
        hub.fetch("hf://org/policy")


def test_a_private_repository_and_a_token_that_is_never_told(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.commit("org/policy", FILES)
    stand_in.private.add("org/policy")
    with pytest.raises(FileNotFoundError, match="HF_TOKEN"):
        hub.fetch("hf://org/policy")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with caplog.at_level(logging.DEBUG):
        assert hub.fetch("hf://org/policy").is_dir()
        with pytest.raises(FileNotFoundError) as refused:
            hub.fetch("hf://org/other")
    assert TOKEN not in caplog.text + str(refused.value)


def test_what_is_uploaded_comes_back(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(FILES["params/a"])
    files = {**FILES, "params/a": tmp_path / "a"}
    with pytest.raises(FileNotFoundError, match=r"logged in|log in"):
        hub.upload(files, "org/mine", message="first")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    address = hub.upload(files, "org/mine", message="first")
    assert "org/mine" in stand_in.private
    copy = hub.fetch(address)
    assert {p.relative_to(copy).as_posix(): p.read_bytes() for p in copy.rglob("*") if p.is_file()} == FILES


def test_a_policy_is_pushed_with_its_card_and_loaded_by_its_address(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    figures = tmp_path / "figures.md"
    figures.write_text("It solved 6 of 8 episodes.\n", encoding="utf-8")
    push_to_hub.main(
        ["--checkpoint", str(SHIPPED["inspire_acting"]), "--repo", "org/acting", "--figures", str(figures)]
    )
    address = capsys.readouterr().out.split()[-1]
    files = stand_in.repos["org/acting"]["main"]
    card = files["README.md"].decode()
    assert "library_name: inspire_fast" in card
    assert "It solved 6 of 8 episodes." in card
    assert "In which direction is {object} relative to the robot?" in card
    assert "commit_success.txt" not in " ".join(files)  # it holds a path of the machine that wrote it
    with open_checkpoint(address) as step:
        assert Contract.read(step / "assets") == Contract.read(SHIPPED["inspire_acting"] / "assets")


def test_a_card_without_figures_claims_none(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    step = tmp_path / "step"
    shutil.copytree(SHIPPED["inspire_acting"], step, ignore=shutil.ignore_patterns("README.md"))
    push_to_hub.main(["--checkpoint", str(step), "--repo", "org/acting", "--public"])
    assert "No figures were given" in stand_in.repos["org/acting"]["main"]["README.md"].decode()
    assert "org/acting" not in stand_in.private


def test_a_dataset_of_the_hub_is_read_like_a_folder(stand_in: StandIn, tmp_path: Path) -> None:
    root = write_fake_dataset(tmp_path / "set", episodes=2)
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    stand_in.commit("org/blocks", files)
    assert len(LeRobotDataset("hf://org/blocks")) == len(LeRobotDataset(root))
    config = DataConfig(root=Path("hf://org/blocks@main"))
    assert [part.name for part in config.datasets] == ["org/blocks"]
    assert len(FactsTable.load(config.datasets[0].root)) == len(FactsTable.load(root))


def test_labels_are_not_written_into_the_hubs_cache(stand_in: StandIn, tmp_path: Path) -> None:
    root = write_fake_dataset(tmp_path / "set", episodes=2)
    stand_in.commit(
        "org/blocks", {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    )
    address = Path("hf://org/blocks")
    with pytest.raises(ValueError, match=r"hf://org/blocks is a dataset of the hub.*convert_dataset.py lerobot"):
        label_dataset.label(Hindsight(), root=address)
    convert_dataset.lerobot(source=address, root=tmp_path / "mine", storage=Storage())
    assert len(FactsTable.load(tmp_path / "mine")) == len(FactsTable.load(root))
