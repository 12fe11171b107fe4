"""Data sets of Ray Data."""

from __future__ import annotations

import os
from typing import Any

from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt.clusters.errors import ClusterError
from keras_int8nmt.clusters.session import connect, nodes
from keras_int8nmt.files import WINDOW
from keras_int8nmt.translation.batch_translator import BatchTranslator


def translate_dataset(
    dataset: Any,
    model: str | os.PathLike[str],
    column: str = "text",
    *,
    batch_size: int = WINDOW,
    streams: int | None = None,
    **options: Any,
) -> Any:
    """A `ray.data.Dataset` with the translations of a column: one translator on each node.

    It is lazy like any other step. Ray does again what a node or an actor that died had under way,
    so no row is missing or there twice. Rows are in the order that Ray Data gives them, which is
    theirs where `ray.data.DataContext.get_current().execution_options.preserve_order` is set.

    Args:
        dataset: A `ray.data.Dataset`.
        model: A folder that holds a model spec, which every node has at the same path.
        column: The column to translate, of texts; a missing one has a missing translation.
        batch_size: Rows that are sorted together.
        streams: Sentences' streams on each node; None: as many as the smallest one has cores. One
            core of a node is left to reading and writing in Ray's book.
        **options: Those of `BatchTranslator`, such as `output_column`, `error_column`, `beam_size`.

    Returns:
        A data set with one more column, `translation` unless `output_column` says otherwise.

    Raises:
        RayMissingError: without Ray.
        ClusterError: when no node has a core.
        TypeError, ValueError: as `BatchTranslator`.

    Example:

        >>> news = ray.data.read_parquet("news.en")
        >>> translate_dataset(news, "/models/en-de-int8", "text").write_parquet("news.de")
    """
    batch_size = whole("batch_size", batch_size, 1, MOST_INT32)
    ray = connect()
    there = nodes(ray)
    if not there:
        raise ClusterError("No node of the cluster has a core.")
    cores = min(node.cores for node in there)
    options = {"column": column, "streams": streams or cores, **options}
    # What is wrong with them is told here and not by a worker.
    translator = BatchTranslator(model, **options)
    return dataset.map_batches(
        BatchTranslator,
        fn_constructor_args=(translator.model,),
        fn_constructor_kwargs=options,
        batch_size=batch_size,
        # Arrow's tables keep all other columns as they are.
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=len(there)),
        # On nodes of three cores and more no two have room; on smaller ones Ray spreads them.
        num_cpus=cores - 1,
        scheduling_strategy="SPREAD",
    )
