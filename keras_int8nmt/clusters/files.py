"""Files of any size by the nodes of a cluster: read and written here, translated there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from keras_int8nmt.clusters.errors import ClusterError
from keras_int8nmt.clusters.pool import NodePool, PieceTranslations
from keras_int8nmt.clusters.session import connect
from keras_int8nmt.clusters.worker import Piece
from keras_int8nmt.files.output import Output
from keras_int8nmt.files.records import LineFormat
from keras_int8nmt.files.source import Source, Window
from keras_int8nmt.storage.card import fingerprint, has_spec, read_card
from keras_int8nmt.translation.files import Done, translate_windows


def translate_on_cluster(
    model: str | os.PathLike[str],
    options: Mapping[str, Any],
    source: Source,
    output: Output,
    form: LineFormat,
    *,
    path: str | os.PathLike[str] | None = None,
    on_error: str = "stop",
    bar: bool = True,
) -> Done:
    """`translate_lines` by an actor on each node of a Ray cluster, to the same bytes.

    Windows are what nodes get, and what the journal counts: they are written here, in their order,
    so that a run may be gone on with by other nodes or by none.

    Args:
        model: A folder with a model spec, which every node has at the same path.
        options: Arguments of `Translator`; `streams` are those of a node, "auto": one a core.
        source, output, form, path, on_error, bar: As for `translate_lines`.

    Raises:
        RayMissingError: without Ray.
        ClusterError: for a folder without a spec, and when no node can translate.
        TextFileError, ResumeError: As for `translate_lines`.
    """
    folder = os.path.abspath(model)
    if not os.path.isdir(folder) or not has_spec(read_card(folder)):
        raise ClusterError(
            f"{str(model)!r} holds no model spec, which the nodes of a cluster translate with; "
            "save_folder and `keras-int8nmt convert` write one."
        )
    ray = connect()
    asked = {"return_scores": False, **options}
    with closing(NodePool(ray, folder, fingerprint(folder), asked)) as pool:

        def begin(window: Window) -> PieceTranslations:
            return pool.begin(Piece(source.name, window.first, window.lines))

        return translate_windows(
            begin,
            source,
            output,
            form,
            path=path,
            on_error=on_error,
            bar=bar,
            under_way=lambda: pool.ahead,
        )
