"""`BatchTranslator`: what engines that work on batches of columns call, on whichever worker."""

from __future__ import annotations

import inspect
import os
import pickle
import platform
from typing import Any

from keras_int8nmt.runtime.forks import ForkSafeLock
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.translation.careful import CarefulTranslations
from keras_int8nmt.translation.columns import BatchError, column_of, values_of, with_columns
from keras_int8nmt.translation.results import Translation
from keras_int8nmt.translation.translator import VERIFY, Translator, load_translator

# Those of `Translator` that a batch can't be asked with.
_NOT_OPTIONS = ("self", "model", "tokenizer", "num_hypotheses")

# The translators of this process, by what they were asked for; all copies share them.
_loaded: dict[bytes, Translator] = {}
_loading = ForkSafeLock()


class BatchTranslator:
    """Translates a column of a batch; a callable for engines that work on many machines.

    It is a name of a folder and a few options: it pickles to some hundred bytes, may be made where
    the folder is not, and opens the folder when it is first called on its worker. A process opens
    it once, whatever number of copies it gets. Ray Data's `map_batches`, `datasets.map(
    batched=True)` and functions of Spark over pandas or Arrow take it as it is; see
    docs/clusters.md.

    What comes in goes out: a dict of columns becomes one of columns of the same kind (NumPy
    arrays, lists, pandas Series, pyarrow Arrays), a pandas DataFrame, a pyarrow Table or
    RecordBatch another one. Columns that are there are kept, one of the name of a new one is
    replaced. A row that is missing (None, NaN, pandas.NA, null) has a missing translation; one with
    nothing to translate has the empty one.

    Args:
        model: A folder that holds a model spec, as `load_translator` takes it; a relative name is
            one below the folder of the process that makes this object.
        column: The column to translate, of texts.
        output_column: The column of the best translations, str.
        score_column: A further one of their scores, float; None: there is none.
        finished_column: Likewise, bool: False where a translation ran into the length limit.
        source_cut_column: Likewise, bool: whether only the beginning of a text was translated.
        error_column: Likewise, str: why a row can't be translated, missing where it can. With one
            the translation of such a row is missing, and all others are there; without one it is
            an error of the batch.
        verify: As for `load_translator`.
        **options: Those of `Translator`, such as `beam_size` and `streams`. Workers that are
            processes on one machine each take all cores unless `streams` says otherwise.

    Raises:
        TypeError: there is no such option.
        ValueError: two columns have one name, or another `verify`.
        ModelFolderError: in a call: naming the machine where there is no such folder.
        BatchError: in a call: there is no such column, or a row can't be translated.

    Example:

        >>> translate = BatchTranslator("en-de-int8", column="en", output_column="de")
        >>> translate({"en": ["Good morning.", None], "id": [1, 2]})
        {'en': ['Good morning.', None], 'id': [1, 2], 'de': ['Guten Morgen.', None]}
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        column: str = "text",
        output_column: str = "translation",
        score_column: str | None = None,
        finished_column: str | None = None,
        source_cut_column: str | None = None,
        error_column: str | None = None,
        verify: str = "full",
        **options: Any,
    ) -> None:
        known = set(inspect.signature(Translator.__init__).parameters) - set(_NOT_OPTIONS)
        for name in options:
            if name not in known:
                raise TypeError(f"BatchTranslator has no option {name!r}; Translator's are taken.")
        if verify not in VERIFY:
            raise ValueError(f"`verify` must be one of {', '.join(VERIFY)}; received {verify!r}.")
        self.model = os.path.abspath(model)
        self.column, self.output_column = column, output_column
        self.score_column, self.finished_column = score_column, finished_column
        self.source_cut_column, self.error_column = source_cut_column, error_column
        made = [name for name in (output_column, *self._further()) if name is not None]
        if len(set(made)) < len(made):
            raise ValueError(f"New columns must have names of their own; they are {made}.")
        self.verify = verify
        self.options = {"return_scores": score_column is not None, **options}
        # Equal for equal copies, whatever the options are made of.
        self._key = pickle.dumps((self.model, verify, sorted(self.options.items())))

    def __call__(self, batch: Any) -> Any:
        """The batch with its translations.

        Args:
            batch: A dict of columns, or what else the class names.
        """
        column = column_of(batch, self.column)
        values = values_of(column)
        outcomes: list[Translation | str | None] = [
            f"it is {type(value).__name__}, no text" if value is not None else None
            for value in values
        ]
        rows = [row for row, value in enumerate(values) if isinstance(value, str)]
        if rows:
            texts = [str(values[row]) for row in rows]
            careful = CarefulTranslations(
                self.translator(), texts, lambda i: f"Row {rows[i]} of column {self.column!r}"
            )
            for row, outcome in zip(rows, careful.results(), strict=True):
                outcomes[row] = outcome
        if self.error_column is None:
            self._refuse_failed(outcomes)
        return with_columns(batch, self._columns(outcomes), column)

    def translator(self) -> Translator:
        """The translator of this process, which all copies of this object share."""
        with _loading:
            found = _loaded.get(self._key)
            if found is None:
                found = _loaded[self._key] = self._load()
        return found

    def __repr__(self) -> str:
        return f"BatchTranslator({self.model!r}, column={self.column!r})"

    def _load(self) -> Translator:
        if not os.path.isdir(self.model):
            raise ModelFolderError(
                f"There is no model folder {self.model!r} on {platform.node()!r}, where a batch is "
                "to be translated. A BatchTranslator opens it by this path on every worker: copy "
                "or mount it there."
            )
        translator = load_translator(self.model, verify=self.verify, **self.options)
        if translator.tokenizer is None:
            raise ModelFolderError(f"{self.model!r} has no tokenizer.")
        return translator

    def _refuse_failed(self, outcomes: list[Translation | str | None]) -> None:
        failed = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, str)]
        if failed:
            more = f" So are {len(failed) - 1} more." if len(failed) > 1 else ""
            raise BatchError(
                f"Row {failed[0]} of column {self.column!r} can't be translated: "
                f"{outcomes[failed[0]]}.{more} With `error_column` the others are."
            )

    def _further(self) -> tuple[str | None, ...]:
        return self.score_column, self.finished_column, self.source_cut_column, self.error_column

    def _columns(
        self, outcomes: list[Translation | str | None]
    ) -> dict[str, tuple[type, list[Any]]]:
        """The new columns by their names."""
        found = [each if isinstance(each, Translation) else None for each in outcomes]
        wanted: list[tuple[str | None, type, list[Any]]] = [
            (self.output_column, str, [each and each.text for each in found]),
            (self.score_column, float, [each and each.hypotheses[0].score for each in found]),
            (self.finished_column, bool, [each and each.finished for each in found]),
            (self.source_cut_column, bool, [each and each.source_cut for each in found]),
            (
                self.error_column,
                str,
                [each if isinstance(each, str) else None for each in outcomes],
            ),
        ]
        return {name: (kind, values) for name, kind, values in wanted if name is not None}
