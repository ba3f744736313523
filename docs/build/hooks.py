"""Build hooks of the documentation site (`make docs`): pages from outside of docs/, the reference, llms.txt.

mkdocs calls the functions by their names. Markdown files and notebooks elsewhere in the repository become pages at
their own path, so that relative links keep their meaning; links to files that are no pages become plain text. The
reference has one page per room, with the names that the room exports. `llms.txt` lists the pages for language models,
`llms-full.txt` holds their text, `outward_links.txt` every address outside of the site.
"""

from __future__ import annotations

import ast
import base64
import json
from pathlib import Path
import posixpath
import re
from typing import Any

from mkdocs.structure.files import File, Files  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "third_party/openpi/*.md",
    "inspire_fast/shipped/*/*.md",
    "examples/*/*.md",
)
LINK = re.compile(r"""(!?)\[((?:[^\[\]]|\n)*)\]\(([^)\s"\[]+)\)""")
NEEDS = re.compile(r"^<!-- needs: (.+?) -->$", re.MULTILINE)
MARK = re.compile(r"^<!-- (?:needs|run): .+? -->\n", re.MULTILINE)

_texts: dict[str, str] = {}  # pages' texts by their address, in the order of the navigation
_outward: set[str] = set()


def exports_of(room: Path) -> dict[str, str]:
    """Names that a room's `__init__.py` imports -> the module that defines each."""
    tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0]
    own = [node for node in imports if str(node.module).startswith("inspire_fast.")]
    return {a.asname or a.name: str(n.module) for n in own for a in n.names if n.module != "inspire_fast.core.lazy"}


def rooms() -> list[Path]:
    """Folders of the rooms that export names."""
    return sorted(path.parent for path in (ROOT / "inspire_fast").glob("*/__init__.py") if exports_of(path.parent))


def reference_pages() -> dict[str, str]:
    """Address of a page -> its Markdown: one per room, and the list of them."""
    pages, rows = {}, []
    for room in rooms():
        doc = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
        names = exports_of(room)
        title = f"inspire_fast.{room.name}"
        entries = "\n\n".join(f"::: {module}.{name}" for name, module in names.items())
        pages[f"reference/{room.name}.md"] = f"# {title}\n\n{doc}\n\n{entries}\n"
        linked = ", ".join(f"[{name}]({room.name}.md#{module}.{name})" for name, module in names.items())
        rows.append(f"| [{title}]({room.name}.md) | {linked} |")
    facade = exports_of(ROOT / "inspire_fast")
    shown = ", ".join(f"`{name}`" for name, module in facade.items() if module != "inspire_fast")
    pages["reference/index.md"] = (
        "# Python reference\n\nPublic names of the package by room, from their docstrings. "
        f"`import inspire_fast as ifa` also offers {shown}, and every room as `ifa.<room>`. "
        "Names load when they are first used.\n\n"
        "| room | names |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    )
    return pages


def notebook_pages() -> dict[str, str | bytes]:
    """Address -> a notebook as Markdown, or a picture of its outputs."""
    pages: dict[str, str | bytes] = {}
    for path in sorted(ROOT.glob("examples/notebooks/*.ipynb")):
        parts, pictures = list[str](), 0
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                if "image/png" in data:
                    name = f"{path.stem}_{pictures}.png"
                    pages[f"examples/notebooks/{name}"] = base64.b64decode(data["image/png"])
                    parts.append(f'<img src="{name}" alt="Picture made by the code above">')
                    pictures += 1
                elif said := "".join(output.get("text", data.get("text/plain", ""))).strip():
                    parts.append(f"```text\n{said}\n```")
        pages[path.relative_to(ROOT).with_suffix(".md").as_posix()] = "\n\n".join(parts) + "\n"
    return pages


def on_config(config: Any) -> Any:
    """Puts the rooms' pages below the reference's first one."""
    for section in config["nav"]:
        for entries in section.values():
            for entry in entries:
                if entry == {"Python": "reference/index.md"}:
                    rooms_pages = [name for name in reference_pages() if name != "reference/index.md"]
                    entry["Python"] = ["reference/index.md", *rooms_pages]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are not files of docs/."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
    for name, text in {**reference_pages(), **notebook_pages()}.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Mends links that leave docs/, and shows what a block of commands needs."""
    del config
    name = page.file.src_uri
    here = name if name in _outside_names(files) else f"docs/{name}"  # place in the repository

    def mend(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        if re.match(r"[a-z]+:", target):
            _outward.add(target)
            return match[0]
        if target.startswith("#") or name.startswith("reference/"):
            return match[0]
        path, _, anchor = target.partition("#")
        found = posixpath.normpath(posixpath.join(posixpath.dirname(here), path))
        uri = re.sub(r"\.ipynb$", ".md", found.removeprefix("docs/"))
        if not (ROOT / found).exists():
            raise FileNotFoundError(f"{here} links to {target}, but there is no {found}.")
        if files.get_file_from_path(uri) is None:  # code, which the site does not have
            return text if text.startswith("`") else f"{text} (`{found}`)"
        relative = posixpath.relpath(uri, posixpath.dirname(name) or ".")
        return f"{picture}[{text}]({relative}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    mended = "".join(part if part.lstrip().startswith("```") else LINK.sub(mend, part) for part in parts)
    _texts[name] = MARK.sub("", mended)
    return NEEDS.sub(r"Needs \1:", mended)


def _outside_names(files: Files) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for pattern in OUTSIDE for path in ROOT.glob(pattern)} & {
        file.src_uri for file in files
    }


def on_post_build(config: Any) -> None:
    """Writes llms.txt, llms-full.txt and the list of outward links."""
    out = Path(config["site_dir"])
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", "", "## Pages", ""]
    for name, text in _texts.items():
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        if name.startswith("reference/"):  # its text is made from docstrings
            target = name.replace(".md", ".html")
        else:
            target = f"{name}.txt"
            (out / target).parent.mkdir(parents=True, exist_ok=True)
            (out / target).write_text(text, encoding="utf-8")
        lines.append(f"- [{title[1] if title else name}]({target}): {first_sentence(text)}")
    whole = [text for name, text in _texts.items() if not name.startswith("reference/")]
    (out / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "llms-full.txt").write_text("\n\n".join(whole), encoding="utf-8")
    (out / "outward_links.txt").write_text("\n".join(sorted(_outward)) + "\n", encoding="utf-8")


def first_sentence(text: str) -> str:
    """First sentence of a page's running text, in plain words."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    first = re.search(r"^(?![#<|!:\s])[^\n]+(?:\n(?![#<|\s])[^\n]+)*", prose, re.MULTILINE)
    return re.split(r"(?<=\.) ", LINK.sub(r"\2", first[0].replace("\n", " ")))[0] if first else ""
