"""A real uvicorn in a thread, on a free port, for tests that need sockets."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from fake_service import FakeService
from rerankd.http.app import create_app
from rerankd.settings import Settings


@contextmanager
def running(app: FastAPI, *, port: int = 0) -> Generator[str]:
    """Serve an application (port 0: on a free one); yields its URL."""
    listener = socket.create_server(("127.0.0.1", port))
    port = listener.getsockname()[1]
    config = uvicorn.Config(app, lifespan="on", ws="none", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def running_fake(service: FakeService, settings: Settings | None = None, *, port: int = 0) -> Generator[str]:
    """Serve a fake service; yields the URL."""
    with running(create_app(service, settings or Settings()), port=port) as url:
        yield url
