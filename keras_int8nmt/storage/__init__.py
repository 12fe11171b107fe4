"""Model folders, SavedModels and the built-in model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "ModelFolderError": "storage.folders",
    "save_folder": "storage.model_folder",
    "load_folder": "storage.model_folder",
    "load_model": "storage.model_folder",
    "open_model": "storage.model_folder",
    "export_saved_model": "storage.saved_model",
    "load_saved_model": "storage.saved_model",
}

__all__ = [
    "ModelFolderError",
    "export_saved_model",
    "load_folder",
    "load_model",
    "load_saved_model",
    "open_model",
    "save_folder",
]

if TYPE_CHECKING:
    from keras_int8nmt.storage.folders import ModelFolderError
    from keras_int8nmt.storage.model_folder import load_folder, load_model, open_model, save_folder
    from keras_int8nmt.storage.saved_model import export_saved_model, load_saved_model
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
