"""Code to copy: the same answer from Python, from a shell and from JavaScript."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

# Replaced in the visitor's browser, which alone knows the address that leads here.
URL = "APP_URL"

_PACKAGE = """import catdog_hub

prediction = catdog_hub.load({source}).predict("photo.jpg")
print(prediction.label, prediction.confidence, prediction.scores)
"""

_PYTHON = f"""from gradio_client import Client, handle_file

client = Client("{URL}")
answer = client.predict(image=handle_file("photo.jpg"), api_name="/predict")
print(answer["label"], answer["confidence"], answer["scores"])
"""

CURL = f"""URL={URL}
FILE=$(curl -sS "$URL/gradio_api/upload" -F "files=@photo.jpg" | tr -d '[]"')
EVENT=$(curl -sS "$URL/gradio_api/call/predict" -H "Content-Type: application/json" \\
  -d '{{"data": [{{"path": "'"$FILE"'", "meta": {{"_type": "gradio.FileData"}}}}, null]}}' | cut -d '"' -f 4)
curl -sS -N "$URL/gradio_api/call/predict/$EVENT"
"""

_JAVASCRIPT = f"""import {{ Client, handle_file }} from "@gradio/client";

const client = await Client.connect("{URL}");
const {{ data: [answer] }} = await client.predict("/predict", {{ image: handle_file("photo.jpg") }});
console.log(answer.label, answer.confidence, answer.scores);
"""


def build(demo: gr.Blocks, source: str | None, revision: str | None) -> None:
    """Add the code examples, folded away; `source` and `revision` are what `catdog_hub.load` needs."""
    on_hub = source is not None and not _is_folder(source)
    # Where a folder is on the server is nobody's business, and of no use elsewhere.
    given = [] if source is None else [json.dumps(source if on_hub else "path/to/release")]
    given += [] if revision is None else [f"revision={json.dumps(revision)}"]
    install = 'pip install ".[hub]"' if on_hub else "pip install ."
    package = _PACKAGE.format(source=", ".join(given))
    remote = [_PYTHON, CURL, _JAVASCRIPT]
    with gr.Accordion("The same in code", open=False, elem_id="snippets"), gr.Tabs():
        with gr.Tab("Python, on your machine"):
            _code(package, "python", f"In a clone of the project: {install}")
        with gr.Tab("Python, this server"):
            python = _code(_PYTHON, "python", "pip install gradio_client")
        with gr.Tab("curl"):
            curl = _code(CURL, "shell", "Upload, ask, read the answer")
        with gr.Tab("JavaScript"):
            javascript = _code(_JAVASCRIPT, "javascript", "npm install @gradio/client")
    fill_in = (
        f"() => {json.dumps(remote)}.map(text => text.replaceAll({json.dumps(URL)}, "
        "(location.origin + location.pathname).replace(/\\/$/, '')))"
    )
    demo.load(None, None, [python, curl, javascript], js=fill_in, api_visibility="private")


def public_name(source: str | None) -> str | None:
    """Return what visitors may know of where a release comes from: a Hub repository, or a folder's last part."""
    return Path(source).expanduser().resolve().name if source is not None and _is_folder(source) else source


def _is_folder(source: str) -> bool:
    return Path(source).expanduser().is_dir()


def _code(text: str, language: str, label: str) -> gr.Code:
    return gr.Code(text, language=language, label=label, interactive=False, lines=4)  # type: ignore[arg-type]
