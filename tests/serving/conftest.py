"""Fixtures of the service's tests: folders, and a client of an application in this process."""

from __future__ import annotations

import pytest
from helpers.service import make_folders

from keras_int8nmt import native
from keras_int8nmt.serving import extra


def pytest_collection_modifyitems(items):
    reason = native.reason()
    if reason is None:
        try:
            extra.require()
        except ImportError as error:
            reason = str(error)
    if reason is not None:
        mark = pytest.mark.skip(reason=reason)
        for item in items:
            if item.path.parent.name == "serving":
                item.add_marker(mark)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def make_client(folders):
    """A client of an application with some settings; English to German and back, en through de."""
    from starlette.testclient import TestClient

    from keras_int8nmt.serving import ServingSettings, create_app

    opened = []

    def make(models=("en-de=int8", "en-de=float", "de-fr=int8"), beam_size=2, **settings):
        settings.setdefault("pivots", ("de",))
        named = [name.replace("=", f"={folders}/") for name in models]
        options = {"beam_size": beam_size, "max_length": 8, "streams": 1}
        app = create_app(named, ServingSettings(**settings), **options)
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__()


@pytest.fixture(scope="module")
def client(make_client):
    return make_client()
