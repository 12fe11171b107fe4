"""A service by LibreTranslate's public interface, without Keras and TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "ServingError": "serving.errors",
    "ServingSettings": "serving.settings",
    "create_app": "serving.create",
    "serve": "serving.server",
}

__all__ = ["ServingError", "ServingSettings", "create_app", "serve"]

if TYPE_CHECKING:
    from keras_int8nmt.serving.create import create_app
    from keras_int8nmt.serving.errors import ServingError
    from keras_int8nmt.serving.server import serve
    from keras_int8nmt.serving.settings import ServingSettings
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
