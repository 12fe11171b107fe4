"""The packages of the extra `serve`, which nothing else needs."""

from __future__ import annotations

from importlib.util import find_spec

# What is imported, by what is installed.
PACKAGES = {
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
    "py3langid": "py3langid",
    "selectolax": "selectolax",
    "sentencex": "sentencex",
}


def require() -> None:
    """Raises ImportError naming the extra where one of its packages is missing."""
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise ImportError(
            f"A service needs {', '.join(missing)}, of the extra `serve`: pip install "
            "'keras-int8nmt[serve]'."
        )
