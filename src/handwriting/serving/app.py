"""The page to draw on: one process, this machine only, no file named from outside, nothing unpickled."""

import base64
import json
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from typing import Any

import anyio
import keras
import numpy as np
import tensorflow as tf
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handwriting.data import Dataset
from handwriting.errors import UserError
from handwriting.serving.arms import Served
from handwriting.serving.pictures import Seen, open_picture, seen_on
from handwriting.serving.reading import ink_for
from handwriting.tracking.picture_model import PictureModel

LONGEST_BODY = 1_000_000  # bytes
MOST_PIXELS = 4_000_000  # of a picture that is sent: the page makes larger ones smaller
AT_ONCE, WAITING = 2, 16  # requests that are read, and that wait for it; one more is told to come again
MOST_PARTS = 40  # of one picture
IN_GALLERY = 120
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
TYPES = ("image/png", "image/jpeg", "image/bmp", "image/webp")  # no form sends these: a browser asks first
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Reader:
    """What the models say of a picture. Safe to be called from several threads."""

    def __init__(self, served: Sequence[Served]):
        self.served = served
        facts = served[0].model.facts
        self.shape, self.classes = facts["image_shape"], facts["classes"]
        self.ink = ink_for(served[0].model)
        self._models = PictureModel(_graph_of([each.model.network for each in served]), facts)
        self.probabilities(np.zeros((1, *self.shape), np.float32))  # the first call takes longer

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return what each of m models says, of shape (n, m, k)."""
        return self._models.probabilities(images)

    def read(self, content: bytes) -> dict[str, Any]:
        """Return each part of a picture as the network sees it, with each model's probabilities.

        Raises:
            UserError: it is no picture, or nothing is on it.
        """
        seen = seen_on(open_picture(content, MOST_PIXELS), self.shape, self.ink)[:MOST_PARTS]
        probabilities = self.probabilities(np.stack([part.image for part in seen])).round(5).tolist()
        return {
            "parts": [
                {"box": part.box, "seen": pixels_of(part), "probabilities": by_model}
                for part, by_model in zip(seen, probabilities, strict=True)
            ]
        }


def _graph_of(networks: Sequence[keras.Model]) -> Callable[..., tf.Tensor]:
    """Return networks as one graph for any number of images: of one, Keras's own calls take longer."""
    all_of_them = tf.function(
        lambda images: tf.stack([network(images, training=False) for network in networks], axis=1)
    )
    graph = all_of_them.get_concrete_function(tf.TensorSpec((None, *networks[0].input_shape[1:]), tf.float32))
    return lambda images, training: graph(tf.constant(images))


def pixels_of(part: Seen) -> str:
    """Return an image's grey values from 0 to 255, row by row, as base64."""
    grey = part.image.mean(axis=-1)
    return base64.b64encode((grey * 255).round().astype(np.uint8).tobytes()).decode()


class Gallery:
    """The test images that the first model gets wrong, found while the page is open already."""

    def __init__(self, reader: Reader, dataset: Dataset):
        self._found: dict[str, Any] | None = None
        threading.Thread(target=self._find, args=(reader, dataset), daemon=True).start()

    def found(self) -> dict[str, Any]:
        """Return them, the most certain mistake first; or that they are looked for."""
        return self._found or {"ready": False}

    def _find(self, reader: Reader, dataset: Dataset) -> None:
        test = dataset.test
        scale = np.float32(255 if test.x.dtype == np.uint8 else 1)
        images = test.x.reshape(len(test), *dataset.image_shape) / scale
        rows = reader.probabilities(images)[:, 0]
        read = rows.argmax(axis=1)
        wrong = np.flatnonzero(read != test.y)
        wrong = wrong[np.argsort(-rows[wrong, read[wrong]])]
        self._found = {
            "ready": True,
            "tests": len(test),
            "wrong": len(wrong),
            "images": [
                {
                    "seen": pixels_of(Seen(images[place], (0, 0, 0, 0))),
                    "right": dataset.classes[test.y[place]],
                    "read": dataset.classes[read[place]],
                    "probability": round(float(rows[place, read[place]]), 4),
                }
                for place in wrong[:IN_GALLERY]
            ],
        }


class Guard:
    """Refuse what the page itself would not send, before anything is read of it."""

    def __init__(self, app: ASGIApp, port: int):
        self.app = app
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and give each answer the page's headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(scope, given)
        if refused:
            await JSONResponse({"error": refused[1]}, refused[0])(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, given: dict[str, str]) -> tuple[int, str] | None:
        if given.get("host") not in self.hosts:
            return 421, f"this page is at {' or '.join(sorted(self.hosts))}"
        origin = given.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.hosts}:
            return 403, "only this page's own requests are answered"
        if scope["method"] == "POST":
            kind = given.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in TYPES:
                return 415, f"a picture must be sent as {', '.join(TYPES)}. Received: {kind or 'no type'}"
            length = given.get("content-length", "0")
            if not length.isdecimal() or int(length) > LONGEST_BODY:
                return 413, f"a picture may have {LONGEST_BODY:,} bytes. Received: {length[:20]}"
        return None


def make_app(reader: Reader, gallery: Gallery | None, port: int) -> FastAPI:
    """Return the application: the page, what it is about, pictures read, and the gallery."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    turns, waiting = anyio.CapacityLimiter(AT_ONCE), 0
    files = {
        path: (resources.files("handwriting.serving").joinpath("page", file).read_bytes(), kind)
        for path, (file, kind) in PAGE.items()
    }
    facts = {
        "models": [{"label": each.label, "alias": each.alias} for each in reader.served],
        "classes": reader.classes,
        "shape": reader.shape[:2],
    }

    for path, (content, kind) in files.items():
        app.add_route(path, partial(_file, content, kind))

    @app.get("/facts")
    async def about() -> Response:
        return JSONResponse(facts)

    @app.get("/gallery")
    async def mistakes() -> Response:
        return JSONResponse(
            gallery.found() if gallery else {"ready": True, "tests": 0, "wrong": 0, "images": []}
        )

    @app.post("/read")
    async def read(request: Request) -> Response:
        nonlocal waiting
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > LONGEST_BODY:  # of one that did not say how long it is
                return JSONResponse({"error": f"a picture may have {LONGEST_BODY:,} bytes"}, 413)
        if waiting >= AT_ONCE + WAITING:
            return JSONResponse({"error": "too many pictures at once"}, 429, {"retry-after": "1"})
        waiting += 1
        try:
            found = await anyio.to_thread.run_sync(reader.read, bytes(content), limiter=turns)
        except UserError as error:
            return JSONResponse({"error": str(error)}, 422)
        finally:
            waiting -= 1
        return Response(json.dumps(found), media_type="application/json")

    app.add_middleware(Guard, port=port)
    return app


async def _file(content: bytes, kind: str, _request: Request) -> Response:
    return Response(content, media_type=kind)
