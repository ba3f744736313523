"""Pictures of the gallery page (`make gallery`): runs the project's commands and photographs their pages.

Every command writes below `runs/gallery`, and one that has ended well is not run again (`runs/gallery/*.done`).
Chromium, controlled over its DevTools protocol, opens the pages that the commands wrote and stores one element
of each as a PNG in `docs/pictures/gallery`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
import io
import json
from pathlib import Path
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any
from urllib.request import urlopen

from PIL import Image
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
RUNS, PICTURES = ROOT / "runs/gallery", ROOT / "docs/pictures/gallery"
TASKS = ("libero_object:4", "libero_object:7", "libero_object:1")
PORT = 8077
EVALUATION = ("--protocol", "inspire", "--camera-px", "112", "--render-quality", "reduced")
SAMPLES = (
    *("inspire_acting", "--data.parts", "runs/gallery/dataset", "--assets", "runs/gallery/assets"),
    *("--data.held-out-every", "6"),
)
# They run in this order, each once.
COMMANDS = {
    "dataset": (
        *("scripts/record_demonstrations.py", "--tasks", *TASKS, "--episodes", "6", "--chunk", "3", "--boxes"),
        *("--initial-states", "fixed", "--first-episode", "20", "--render-quality", "reduced"),
        *("--early-closing", "0.5", "--root", "runs/gallery/dataset"),
    ),
    "statistics": ("scripts/compute_norm_stats.py", *SAMPLES),
    "tokenizers": ("scripts/fit_tokenizers.py", *SAMPLES),
    "inspection": ("scripts/inspect_dataset.py", *SAMPLES),
    "evaluation": (
        *("examples/libero/main.py", *EVALUATION, "--checkpoint", "inspire_acting", "--tasks", *TASKS),
        *("--episodes", "3", "--attention", "5", "--out", "runs/gallery/evaluation"),
    ),
    "diagnosis": (*("scripts/diagnose.py", "runs/gallery/evaluation", "--demonstrations", "runs/gallery/dataset"),),
    "places": (*("benchmarks/locations.py", "--quick", "--pictures", "runs/gallery/places"),),
    "execution": ("benchmarks/execution.py", "--quick", "--picture", "runs/gallery/execution.png"),
}


class Browser:
    """One page of a Chromium without a window.

    Raises:
        FileNotFoundError: there is no Chromium.
    """

    def __init__(self, *, width: int, profile: str) -> None:
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if program is None:
            raise FileNotFoundError("The gallery needs Chromium (Debian: apt-get install chromium).")
        options = ("headless", "no-sandbox", "hide-scrollbars", "disable-gpu", "remote-debugging-port=0")
        options += (f"user-data-dir={profile}", f"window-size={width},900")
        self._process = subprocess.Popen([program, *(f"--{o}" for o in options)], stderr=subprocess.DEVNULL)
        port = Path(profile) / "DevToolsActivePort"
        wait_for(lambda: port.exists() and port.read_text(encoding="utf-8").count("\n"), "Chromium has not started")
        with urlopen(f"http://127.0.0.1:{port.read_text(encoding='utf-8').split()[0]}/json") as reply:
            (page,) = (each for each in json.load(reply) if each["type"] == "page")
        self._socket = connect(page["webSocketDebuggerUrl"], max_size=None)
        self._number = 0

    def close(self) -> None:
        """Ends Chromium."""
        self._socket.close()
        self._process.terminate()
        self._process.wait()

    def open(self, address: str) -> None:
        """Opens a page and waits until it is whole."""
        self._call("Page.navigate", url=address)
        wait_for(lambda: self.run("document.readyState") == "complete", f"{address} did not load")

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression."""
        reply = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in reply:
            raise RuntimeError(f"{script}: {reply['exceptionDetails']}")
        return reply["result"].get("value")

    def photograph(self, path: Path, first: str, last: str = "", *, margin: int = 10) -> None:
        """Stores the page from one element's upper edge to another's lower one; both are JavaScript expressions."""
        edges = f"[({first}).getBoundingClientRect().top, ({last or first}).getBoundingClientRect().bottom]"
        top, bottom = self.run(f"{edges}.map(y => y + scrollY)")
        clip = {"x": 0, "y": max(0, top - margin), "width": self.run("innerWidth"), "scale": 1}
        shot = self._call(
            "Page.captureScreenshot", clip=clip | {"height": bottom - top + 2 * margin}, captureBeyondViewport=True
        )
        store(Image.open(io.BytesIO(base64.b64decode(shot["data"]))), path)

    def _call(self, method: str, **params: object) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while (reply := json.loads(self._socket.recv(timeout=60))).get("id") != self._number:
            pass  # events
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]


def wait_for(condition: Any, problem: str, *, seconds: float = 60) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{problem} within {seconds:.0f} s.")
        time.sleep(0.1)


def store(picture: Image.Image, path: Path) -> None:
    """Stores a picture with 256 colours, which is a third of the size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.convert("RGB").quantize(256).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {picture.width} x {picture.height}, {path.stat().st_size // 1000} kB", flush=True)


def make(name: str, command: tuple[str, ...]) -> None:
    """Runs a command of the project unless it has ended well before.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    done = RUNS / f"{name}.done"
    if not done.exists():
        print("uv run", *command, flush=True)
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
        done.touch()


@contextmanager
def served() -> Iterator[None]:
    """A server of the shipped policy with a live page, while one episode is driven."""
    server = [sys.executable, "scripts/serve_policy.py", "--live", "--port", str(PORT)]
    client = [sys.executable, "examples/libero/main.py", *EVALUATION, "--port", str(PORT), "--tasks", TASKS[0]]
    with tempfile.TemporaryDirectory() as out:
        processes = [
            subprocess.Popen(server, cwd=ROOT),
            subprocess.Popen([*client, "--episodes", "1", "--out", f"{out}/live"], cwd=ROOT),
        ]
        try:
            yield
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


def photograph(browser: Browser) -> None:
    """Takes all pictures."""
    all_of = "document.querySelectorAll('{}')".format
    section = "[...document.querySelectorAll('h2')].find(e => e.textContent == '{}')".format
    browser.open((RUNS / "assets/inspire_acting/inspection/page.html").as_uri())
    browser.photograph(PICTURES / "dialogue.png", f"{all_of('.key')}[0]", f"{all_of('.sample')}[1]")
    browser.open((RUNS / "evaluation/report.html").as_uri())
    browser.photograph(
        PICTURES / "success.png", section("Success"), f"{section('Why did it fail?')}.previousElementSibling"
    )
    browser.photograph(
        PICTURES / "diagnosis.png", section("Why did it fail?"), f"{section('Answers')}.previousElementSibling"
    )
    browser.run("document.getElementById('maps').click()")
    episode = f"{all_of('details.episode')}[1]"
    browser.run(f"{episode}.open = true")
    wait_for(lambda: browser.run(f"{episode}.querySelector('video').readyState >= 2"), "The video did not load")
    browser.run(f"{episode}.querySelector('video').currentTime = 2")
    time.sleep(1)  # the frame is drawn
    browser.photograph(
        PICTURES / "attention.png", episode, f"[...{episode}.querySelectorAll('.stack')].slice(0, 10).at(-1)"
    )
    with served():
        wait_for(lambda: answers(PORT), "The server has not started", seconds=300)
        browser.open(f"http://127.0.0.1:{PORT}/live")
        calls = "Number(document.querySelector('article')?.textContent.match(/call (\\d+)/)[1])"
        wait_for(lambda: (browser.run(calls) or 0) >= 5, "No episode was seen", seconds=300)
        browser.photograph(PICTURES / "live.png", f"{all_of('header')}[0]", f"{all_of('article')}[0]")
    places = Image.open(RUNS / "places/network.png")
    places = places.crop((0, 0, places.width, places.width // 3))  # two rows of six
    store(places.resize((1200, 400), Image.Resampling.LANCZOS), PICTURES / "places.png")
    store(Image.open(RUNS / "execution.png"), PICTURES / "execution.png")


def answers(port: int) -> bool:
    """Whether the server on a port is ready."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz") as reply:
            return reply.status == 200
    except OSError:
        return False


def main() -> None:
    """Runs the commands, then takes the pictures."""
    RUNS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(width=1100, profile=profile)
        try:
            for name, command in COMMANDS.items():
                make(name, command)
            photograph(browser)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
