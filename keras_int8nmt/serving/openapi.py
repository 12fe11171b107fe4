"""The OpenAPI schema of a service, with its own limits and languages."""

from __future__ import annotations

from typing import Any

from keras_int8nmt._version import __version__
from keras_int8nmt.serving.catalogue import Catalogue
from keras_int8nmt.serving.downloads import FILE_FORMATS
from keras_int8nmt.serving.queries import AUTO, FORMATS, PRECISIONS
from keras_int8nmt.serving.settings import ServingSettings

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_TEXT_OR_TEXTS: Schema = {"oneOf": [_TEXT, _TEXTS]}
_DETECTED: Schema = {
    "type": "object",
    "properties": {
        "confidence": {"type": "number", "minimum": 0, "maximum": 100},
        "language": _TEXT,
    },
    "required": ["confidence", "language"],
}
_ERROR: Schema = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "The reason, one sentence."}},
    "required": ["error"],
}
_REFUSALS = {
    "400": "Something of the request is wrong",
    "403": "An API key is missing or wrong",
    "408": "The body came too slowly",
    "413": "Larger than the service takes",
    "415": "Neither JSON nor a form",
    "429": "Too many requests; Retry-After says when to come again",
    "503": "It took too long, or the service is closing, or has all the connections that it may",
}


def openapi(catalogue: Catalogue, settings: ServingSettings) -> Schema:
    """The schema, as `/openapi.json` answers."""
    key = {"type": "string", "description": "API key, where the service asks for one."}
    languages: Schema = {
        "source": {"type": "string", "enum": [AUTO, *catalogue.codes]},
        "target": {"type": "string", "enum": catalogue.codes},
        "precision": {
            "type": "string",
            "enum": list(PRECISIONS),
            "description": "Of the model; empty: the first of the two languages.",
        },
        "api_key": key,
    }
    texts = {
        "oneOf": [
            {**_TEXT, "maxLength": settings.characters},
            {**_TEXTS, "maxItems": settings.texts},
        ],
        "description": "A text of any number of sentences, or a list of them.",
    }
    translate = _object(
        {
            "q": texts,
            **languages,
            "format": {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]},
            "alternatives": {
                "type": "integer",
                "minimum": 0,
                "maximum": settings.alternatives,
                "default": 0,
            },
        },
        "q",
        "source",
        "target",
    )
    translated = _object(
        {
            "translatedText": _TEXT_OR_TEXTS,
            "detectedLanguage": {"oneOf": [_DETECTED, {"type": "array", "items": _DETECTED}]},
            "alternatives": {"oneOf": [_TEXTS, {"type": "array", "items": _TEXTS}]},
        },
        "translatedText",
    )
    file = _object(
        {
            "file": {"type": "string", "format": "binary", "description": ", ".join(FILE_FORMATS)},
            **languages,
        },
        "file",
        "source",
        "target",
    )
    lines = {
        "type": "string",
        "description": "JSON objects, one a line: of each sentence, as it is finished, `index` of "
        "its text, `sentence` in it, and `translatedText`; at the end `done`, and what /translate "
        "would answer. A line with `error` ends it early.",
    }
    language = {"code": _TEXT, "name": _TEXT, "targets": _TEXTS}
    detect = _object({"q": _TEXT, "api_key": key}, "q")
    json_type = "application/json"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "keras-int8nmt",
            "version": __version__,
            "description": "Translation with INT8 models, by LibreTranslate's public interface.",
        },
        "paths": {
            "/translate": {"post": _post("Translate", translate, {json_type: translated})},
            "/translate/stream": {
                "post": _post(
                    "Translate, sentence by sentence", translate, {"application/x-ndjson": lines}
                )
            },
            "/translate_file": {
                "post": _post(
                    "Translate a file",
                    file,
                    {json_type: _object({"translatedFileUrl": _TEXT}, "translatedFileUrl")},
                    ("multipart/form-data",),
                )
            },
            "/detect": {
                "post": _post(
                    "Detect a language", detect, {json_type: {"type": "array", "items": _DETECTED}}
                )
            },
            "/languages": _get(
                "Languages", {"type": "array", "items": _object(language, *language)}
            ),
            "/frontend/settings": _get("Settings", {"type": "object"}),
            "/health": _get("Whether the process works", {"type": "object"}, "503"),
            "/ready": _get("Whether it takes requests", {"type": "object"}, "503"),
            "/metrics": _get("Metrics of Prometheus", _TEXT, kind="text/plain"),
        },
        "components": {"schemas": {"Error": _ERROR}},
    }


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _answer(description: str, kind: str, schema: Schema) -> Schema:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _refused(status: str) -> Schema:
    error = {"$ref": "#/components/schemas/Error"}
    return _answer(_REFUSALS[status], "application/json", error)


def _post(
    summary: str,
    body: Schema,
    answers: dict[str, Schema],
    kinds: tuple[str, ...] = ("application/json", "application/x-www-form-urlencoded"),
) -> Schema:
    content = {kind: {"schema": schema} for kind, schema in answers.items()}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {kind: {"schema": body} for kind in kinds}},
        "responses": {
            "200": {"description": summary, "content": content},
            **{status: _refused(status) for status in _REFUSALS},
        },
    }


def _get(summary: str, schema: Schema, *statuses: str, kind: str = "application/json") -> Schema:
    return {
        "get": {
            "summary": summary,
            "responses": {
                "200": _answer(summary, kind, schema),
                **{status: _refused(status) for status in statuses},
            },
        }
    }
