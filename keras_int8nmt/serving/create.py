"""`create_app`: a service of models in folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_int8nmt.serving.catalogue import Catalogue, load_model
from keras_int8nmt.serving.extra import require
from keras_int8nmt.serving.settings import ServingSettings

if TYPE_CHECKING:
    from starlette.applications import Starlette


def create_app(
    models: Sequence[str], settings: ServingSettings | None = None, **options: Any
) -> Starlette:
    """The service as an ASGI application, for any server of such.

    Models are loaded at once and have no threads until the application is started, so that a
    server may be forked in between: the processes then share their weights.

    Args:
        models: Folders that hold a model spec and a tokenizer. `en-de=FOLDER` says which languages
            a model is of; a folder whose card has the entry `languages` needs no such word. Of the
            same languages there may be one model of each precision; the first is the one that
            translates where none is asked for.
        settings: Limits, and who may ask.
        **options: Arguments of `Translator`.

    Raises:
        ImportError: naming the extra `serve` where it is not installed.
        ServingError: where models do not go together, or one's languages are not known.
        ModelFolderError, SpecFileError, TokenizerError, RuntimeError: see `load_translator`.

    Example:

        >>> app = create_app(["en-de=models/en-de-int8"], beam_size=4)
        >>> uvicorn.run(app, host="127.0.0.1", port=5000)
    """
    require()
    # Here, so that where the extra is missing the error says so.
    from keras_int8nmt.serving.app import make_app

    settings = settings or ServingSettings()
    options.setdefault("return_scores", False)
    loaded = [load_model(name, options, settings.alternatives) for name in models]
    return make_app(Catalogue(loaded, settings.pivots), settings)
