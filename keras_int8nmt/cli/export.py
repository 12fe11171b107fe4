"""`keras-int8nmt export`: a model and its search as a TensorFlow SavedModel."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from keras_int8nmt._arguments import MOST_INT32
from keras_int8nmt.cli.errors import UsageError
from keras_int8nmt.cli.opening import open_folder, start_keras
from keras_int8nmt.cli.options import add_output, add_search_options, whole
from keras_int8nmt.runtime.search_defaults import of_model
from keras_int8nmt.runtime.search_options import MOST_BEAM, SearchOptions
from keras_int8nmt.storage.folders import SAVED_MODEL_FILE, ModelFolderError, check_writable

_KERAS_FILE = ".keras"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a folder of ours, converted or float, another program's model, or a .keras file",
    )
    parser.add_argument(
        "--ops",
        choices=("native", "stock"),
        default="native",
        help="native: one op of the native library, which who loads it loads first; stock: "
        "TensorFlow's own operations, for servers that load no libraries, many times slower; "
        "default: native",
    )
    add_search_options(parser, token_filters=False)
    parser.add_argument(
        "--num-hypotheses",
        type=partial(whole, 1, MOST_BEAM),
        default=of_model(1),
        help="translations of a sentence, at most --beam-size; default: 1, unless MODEL says "
        "otherwise",
    )
    parser.add_argument(
        "--min-length",
        type=partial(whole, 0, MOST_INT32),
        default=of_model(0),
        help="fewest tokens of a translation; default: 0, unless MODEL says otherwise",
    )
    add_output(parser, "DIR", required=True)


def run(model: str, output: str, force: bool, ops: str, **options: Any) -> dict[str, Any]:
    """Writes the SavedModel; prints its files and what its signature takes and gives."""
    if Path(output).exists() and not force:
        raise UsageError(f"{output!r} exists already; --force replaces it.")
    check_writable(output, force, SAVED_MODEL_FILE)
    try:
        SearchOptions.of(options)
    except ValueError as error:
        raise UsageError(str(error)) from error
    opened = _opened(model)

    from keras_int8nmt.ops.library import require
    from keras_int8nmt.storage.saved_model import export_saved_model, load_saved_model

    if ops == "native":
        try:
            require()
        except RuntimeError as error:
            raise UsageError(f"{error} --ops stock does without it.") from error
    try:
        export_saved_model(opened, output, ops=ops, force=force, **options)
    except ModelFolderError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"{model} can't be exported: {error}") from error
    signature = load_saved_model(output).signatures["serving_default"]
    files = {
        str(path.relative_to(output)): path.stat().st_size
        for path in sorted(Path(output).rglob("*"))
        if path.is_file()
    }
    inputs = _described(signature.structured_input_signature[1])
    outputs = _described(signature.structured_outputs)
    print(f"{', '.join(files)}: {output}")
    print(f"serving_default takes {_text(inputs)}; gives {_text(outputs)}")
    return {"ops": ops, "files": files, "inputs": inputs, "outputs": outputs}


def _opened(path: str) -> Any:
    """The model of a folder or of a `.keras` file; a float one without its observers."""
    if Path(path).suffix == _KERAS_FILE and not Path(path).is_dir():
        from keras_int8nmt.storage.keras_file import check_keras_file, load_keras_file

        check_keras_file(Path(path))
        start_keras()
        model = load_keras_file(Path(path))
    else:
        model, _, _ = open_folder(path, quant=False)

    from keras_int8nmt.models.plain import plain_model

    return plain_model(model)


def _described(specs: Any) -> dict[str, dict[str, Any]]:
    return {
        name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
        for name, spec in sorted(specs.items())
    }


def _text(described: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{name} {entry['dtype']}" for name, entry in described.items())
