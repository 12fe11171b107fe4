"""`Translator`: sentences in, sentences out."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import index
from pathlib import Path
from typing import Any

from keras_int8nmt import native
from keras_int8nmt._arguments import MOST_INT32, whole
from keras_int8nmt._threads import Task
from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files import WINDOW
from keras_int8nmt.runtime.batching import (
    MOST_BATCH,
    MOST_STREAMS,
    MOST_THREADS,
    SORTS,
    cut_ids,
    sort_keys,
)
from keras_int8nmt.runtime.errors import EngineGoneError
from keras_int8nmt.runtime.forks import ForkSafeLock
from keras_int8nmt.runtime.results import Hypothesis, SearchResults
from keras_int8nmt.runtime.search_defaults import ModelDefault, SearchDefaults, of_model
from keras_int8nmt.runtime.search_options import SearchOptions
from keras_int8nmt.runtime.spec_file import SpecFileError, forget, read_spec
from keras_int8nmt.runtime.token_filters import TokenFilter
from keras_int8nmt.storage.card import (
    MODEL_FILE,
    check_file,
    check_nothing_put_in,
    has_spec,
    read_card,
    search_defaults_of,
)
from keras_int8nmt.storage.folders import ModelFolderError
from keras_int8nmt.tokenizers.adapters import tokenizer_for
from keras_int8nmt.tokenizers.fit import check_fit
from keras_int8nmt.tokenizers.kinds import load_tokenizer
from keras_int8nmt.tokenizers.protocol import Tokenizer, source_end, text_test
from keras_int8nmt.translation.model import Engine, TranslationModel, check_model
from keras_int8nmt.translation.native_engine import NativeEngine, native_refusal
from keras_int8nmt.translation.results import AsyncTranslations, Translation, error_text
from keras_int8nmt.translation.spec_model import SpecModel
from keras_int8nmt.translation.windows import cut, overlapped

VERIFY = ("full", "size")
_PATHS = ("auto", "fast", "layers")
# Source tokens of a batch on the layer path. Its caches hold beams of them, for each layer.
_BATCH_TOKENS = 16384
# Sources that a warning names.
_NAMED = 20


class Translator:
    """Translates with a `Transformer` or an `Int8Transformer`, by greedy or beam search.

    Sentences are sorted by length and answered in the order they came in. What else is in a batch
    never changes an answer: with an INT8 model on the native library not by a bit, otherwise by no
    more than the rounding of float32 sums. Many threads may translate with one translator.

    Where `beam_size`, `max_length`, `min_length`, `length_penalty`, `num_hypotheses`,
    `no_repeat_ngram_size` or `token_filters` are not given, what the model's own `search_defaults`
    say counts, which come from the `generation_config.json` of a folder that others have made.

    Args:
        model: A `Transformer` or `Int8Transformer`.
        tokenizer: Has `pad_id`, `eos_id`, `encode(text)` and `decode(ids)`, or is one of another
            library that `as_tokenizer` takes; None is enough for `translate_ids`.
        beam_size: Live hypotheses a sentence; 1 is greedy search.
        batch_size: Sentences a batch, at most.
        max_length: Most tokens of a translation, the end token included. More than the model's own
            `max_length` means the latter.
        min_length: Fewest tokens of a translation, the end token included.
        length_penalty: A hypothesis of n tokens scores its log-probability / n ** length_penalty.
        num_hypotheses: Translations a sentence that `translate` returns, at most `beam_size`.
        return_scores: False: the score of every hypothesis is NaN, and greedy search on the fast
            path, which does not need them, leaves log-probabilities out.
        no_repeat_ngram_size: No run of so many generated tokens occurs twice in a translation; 0:
            any may.
        token_filters: Further rules of what must not be produced, each a `TokenFilter`. The fast
            path runs those that the native decoder has, too; `path_reason` names one that it has
            not.
        streams: Batches translated at the same time, each by a thread; all share the model's
            weights. "auto": as many as there are cores for them, and one on the layer path for a
            model whose operations use several cores by themselves.
        threads_per_stream: Threads that share the large products of each stream on the fast path:
            for the shortest time of a single request.
        max_source_length: A longer source is cut to this many tokens, an end token kept, with a
            warning and marked. None: the model's `max_length`, which is also the most.
        path: "auto": the native decoder where it can run the model (any `Transformer` or
            `Int8Transformer`, with the native library), else the model's own layers in
            TensorFlow's loop; `translator.path` tells which, and `path_reason` why. "fast" and
            "layers" ask for one of them. Both give the same tokens and scores: with an INT8 model
            to the bit, otherwise but for the rounding of float32 sums.
        sort: In which order sentences are begun, and so which of them share a batch: "tokens", the
            most tokens first; "words", by what white space separates; "none", as they come.
            Answers are in the order of the input in any case.
        max_batch_tokens: Most source tokens of a batch, padding included, on the layer path; the
            fast path pads nothing and needs memory for `batch_size` sentences a stream.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or model and tokenizer do not belong together.
        RuntimeError: In a call: `path="fast"` is not possible for the model as it is now.

    Example:

        >>> translator = Translator(load_marian(folder), MarianTokenizer(folder), beam_size=4)
        >>> translator(["Good morning."])
        ['Guten Morgen.']
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        beam_size: int = of_model(4),
        batch_size: int = 32,
        max_length: int = of_model(256),
        min_length: int = of_model(0),
        length_penalty: float = of_model(1.0),
        num_hypotheses: int = of_model(1),
        return_scores: bool = True,
        no_repeat_ngram_size: int = of_model(0),
        token_filters: Sequence[TokenFilter] = of_model(()),
        streams: int | str = "auto",
        threads_per_stream: int = 1,
        max_source_length: int | None = None,
        path: str = "auto",
        sort: str = "tokens",
        max_batch_tokens: int = _BATCH_TOKENS,
    ) -> None:
        check_model(model)
        self.model: TranslationModel = model
        self.tokenizer: Tokenizer | None = None
        if tokenizer is not None:
            self.tokenizer = tokenizer_for(model, tokenizer)
        if not isinstance(token_filters, ModelDefault):
            token_filters = tuple(token_filters)
        asked = {
            "beam_size": beam_size,
            "num_hypotheses": num_hypotheses,
            "max_length": max_length,
            "min_length": min_length,
            "length_penalty": length_penalty,
            "return_scores": return_scores,
            "no_repeat_ngram_size": no_repeat_ngram_size,
            "token_filters": token_filters,
        }
        defaults: SearchDefaults = getattr(model, "search_defaults", SearchDefaults())
        self.options = SearchOptions(**defaults.resolved(asked)).at_most(model.max_length)
        self.batch_size = whole("batch_size", batch_size, 1, MOST_BATCH)
        if not (isinstance(streams, str) and streams == "auto"):
            streams = whole("streams", streams, 1, MOST_STREAMS)
        self.streams = streams
        self.threads_per_stream = whole("threads_per_stream", threads_per_stream, 1, MOST_THREADS)
        if path not in _PATHS:
            raise ValueError(f"`path` must be one of {', '.join(_PATHS)}; received {path!r}.")
        self._asked = path
        if sort not in SORTS:
            raise ValueError(f"`sort` must be one of {', '.join(SORTS)}; received {sort!r}.")
        self.sort = sort
        self.max_batch_tokens = whole("max_batch_tokens", max_batch_tokens, 1, MOST_INT32)
        if max_source_length is None:
            max_source_length = model.max_length
        self.max_source_length = min(
            whole("max_source_length", max_source_length, 1, MOST_INT32), model.max_length
        )
        if self.tokenizer is not None:
            check_fit(model, self.tokenizer)
        self._native_engine: NativeEngine | None = None
        self._graph_engine: Engine | None = None
        self._making = ForkSafeLock()
        # What a pickle of it has: where it was loaded from, and how.
        self._loaded_by: tuple[Any, ...] | None = None

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, verify: str = "full", **options: Any
    ) -> Translator:
        """A translator of a folder that holds a model spec; needs neither Keras nor TensorFlow.

        `save_folder` writes the spec of every converted Transformer. Weights are mapped and packed
        for this CPU on all cores, while the checksums of the files are compared.

        Args:
            folder: The folder.
            verify: "full": the checksum of every file that is read is compared; "size": its size.
            **options: Arguments of `Translator`.

        Raises:
            ModelFolderError: for a folder without a spec, and naming a file that is missing,
                truncated or changed.
            SpecFileError: naming a file of the spec that is damaged or of another version.
            TokenizerError: naming a file of the tokenizer that is damaged.
            RuntimeError: without the native library: the message says what to install.
            ValueError: for another `verify`, and as `Translator`.

        Example:

            >>> with Translator.load("en-de-int8", beam_size=4) as translator:
            ...     translator(["Where is the station?"])
        """
        if verify not in VERIFY:
            raise ValueError(f"`verify` must be one of {', '.join(VERIFY)}; received {verify!r}.")
        place = Path(folder)
        card = read_card(place)
        if not has_spec(card):
            raise ModelFolderError(
                f"{str(place)!r} holds no model spec: load_folder opens it with Keras, and "
                "save_folder saves a converted Transformer with its spec."
            )
        if native.reason() is not None:
            raise RuntimeError(
                f"A translator without Keras needs the native library: {native.reason()}. Install "
                "keras-int8nmt from a wheel for this platform, or translate with "
                "the model that load_folder gives, which takes TensorFlow's operations."
            )
        names = [name for name in card["files"] if name != MODEL_FILE]
        for name in names:
            check_file(place, card, name, size_only=True)
        # Hashing lets go of the interpreter, as packing does.
        hashed = None if verify == "size" else Task(_check_content, place, card, names)
        model: Any = None
        tokenizer: Any = None
        failure: Exception | None = None
        try:
            model = SpecModel(read_spec(place), card["precision"], forget)
            model.search_defaults = search_defaults_of(place, card)
            tokenizer = load_tokenizer(place, card["files"], card.get("tokenizer"))
        except SpecFileError as error:
            failure = SpecFileError(f"In {str(place)!r}: {error}")
        except KerasInt8nmtError as error:
            failure = error
        # A file that was changed is the better reason.
        if hashed is not None:
            hashed.result()
        if failure is not None:
            raise failure
        check_nothing_put_in(place, card)
        _check_ids(place, model, tokenizer)
        translator = cls(model, tokenizer, **options)
        if translator.path == "fast":
            try:
                translator.native_engine.decoder()
            except EngineGoneError:
                raise
            except RuntimeError as error:
                raise SpecFileError(f"The model spec in {str(place)!r}: {error}") from error
        translator._loaded_by = (cls, str(place.resolve()), verify, options)
        return translator

    def __reduce__(self) -> tuple[Any, ...]:
        """A translator that was loaded from a folder pickles as that: it is loaded again there."""
        if self._loaded_by is None:
            raise TypeError(
                "This Translator can't be pickled: its model is an object of this process, and no "
                "folder is known to load it from. Save the model with save_folder and pickle the "
                "translator that load_translator (Translator.load) gives of the folder, or pickle "
                "the folder's name and make the translator in the other process."
            )
        return _load_again, self._loaded_by

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """The best translation of each text."""
        return [result.text for result in self.translate(texts)]

    def translate(
        self, texts: Sequence[str], progress: Callable[[int], Any] | None = None
    ) -> list[Translation]:
        """Translates with scores.

        Args:
            texts: Sentences. One of nothing that can be seen (white space, zero-width and control
                characters, marks without a letter), or of a language code alone, has the empty
                translation, score 0.
            progress: Called now and then, in the caller's thread, with the number of sentences that
                are finished since the last call.

        Returns:
            A `Translation` for each text, in the order of `texts`. It says whether it ran into the
            length limit (`finished`), and whether its source was cut (`source_cut`).

        Raises:
            SentenceError: when a text can't be tokenized, or its translation not be detokenized;
                it has the translations of all others.
        """
        return self.begin(texts).results(progress)

    def begin(
        self,
        texts: Sequence[str],
        name: Callable[[int], str] | None = None,
        num_hypotheses: int | None = None,
    ) -> AsyncTranslations:
        """Hands texts to the streams and does not wait for them.

        What was begun earlier goes first. So that the streams never wait, begin the next texts
        before asking for the results of these: `translate_iter` does.

        Args:
            texts: As for `translate`.
            name: Says by an index what a warning or an error calls a text: "Sentence 5" by default.
            num_hypotheses: The best so many of each text are given; None: all that were asked for.

        Returns:
            Its `results()` are those of `translate(texts)`. They must be asked for, or `cancel()`
            called.
        """
        if self.tokenizer is None:
            raise ValueError("This translator has no tokenizer: use `translate_ids`.")
        if isinstance(texts, str | bytes):
            raise TypeError("`texts` must be a list of sentences; received one piece of text.")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"`texts[{i}]` must be a str; it is {text!r}.")
        has_text, name = text_test(self.tokenizer), name or _sentence
        self._tell_remarks(texts, name)
        ids: dict[int, list[int]] = {}
        failed: dict[int, str] = {}
        for i, text in enumerate(texts):
            if not has_text(text):
                continue
            try:
                encoded = _whole_ids(self.tokenizer.encode(text), i, name)
            except Exception as error:  # whatever somebody's tokenizer raises: it is of one text
                failed[i] = f"can't be tokenized: {error_text(error)}"
                continue
            if not encoded and self._source_end is None:
                continue
            reason = self._unfit(encoded)
            if reason is not None:
                failed[i] = reason
            elif any(token not in (self.model.eos_id, self.model.pad_id) for token in encoded):
                ids[i] = encoded
        shortened = self._cut(ids, name)
        present = list(ids)
        keys = sort_keys(self.sort, list(ids.values()), [texts[i] for i in present])
        found = self._begin(list(ids.values()), keys)

        def finish(i: int, hypotheses: list[Hypothesis]) -> Translation:
            return self._translation(hypotheses[:num_hypotheses], i in shortened, self.tokenizer)

        return AsyncTranslations(len(texts), present, found, finish, failed, name)

    def translate_ids(
        self, sentences: Sequence[Sequence[int]], progress: Callable[[int], Any] | None = None
    ) -> list[Translation]:
        """`translate` of token ids; the results have no text.

        Args:
            sentences: Token ids, the end token included unless the tokenizer says that its model's
                sources have none (`source_eos`).
            progress: As for `translate`.
        """
        if isinstance(sentences, str | bytes):
            raise TypeError("`sentences` must be lists of token ids; received one piece of text.")
        ids = {i: _whole_ids(sentence, i, _sentence) for i, sentence in enumerate(sentences)}
        for i, sentence in ids.items():
            reason = self._unfit(sentence)
            if reason is not None:
                raise ValueError(f"{_sentence(i)} {reason}.")
        shortened = self._cut(ids, _sentence)
        begun = self._begin(list(ids.values()), sort_keys(self.sort, list(ids.values())))
        return [
            self._translation(found, i in shortened)
            for i, found in enumerate(begun.results(progress))
        ]

    def translate_iter(self, lines: Iterable[str], window: int = WINDOW) -> Iterator[Translation]:
        """`translate` of a stream of any length: a generator that looks ahead a little.

        Args:
            lines: Sentences; a line's end, as files give it, is white space like any other.
            window: Sentences that are sorted together. At most three windows are in memory, and
                two are read before the first translation is given. With 1 each sentence is
                translated and given before the next one is read.

        Yields:
            A `Translation` for each line, in the order of `lines`.

        Example:

            >>> with open("news.en") as lines:
            ...     for translation in translator.translate_iter(lines):
            ...         print(translation.text)
        """
        first = 0

        def begin(texts: list[str]) -> AsyncTranslations:
            nonlocal first
            before, first = first, first + len(texts)
            return self.begin(texts, lambda i: _sentence(before + i))

        for _, results in overlapped(cut(lines, window), begin, ahead=window > 1):
            yield from results

    def map_dataset(self, dataset: Any, window: int = WINDOW, *, marks: bool = False) -> Any:
        """A `tf.data.Dataset` of the best translations of a dataset of sentences.

        Args:
            dataset: Of scalar strings, or of vectors of them (one batched already); UTF-8.
            window: Of scalars: sentences that are sorted together.
            marks: Whether an element also tells what went wrong: it is a dict then, of
                `translation`, `finished` and `source_cut`, see `Translation`.

        Returns:
            A dataset of the same shapes, in the same order.

        Example:

            >>> sources = tf.data.TextLineDataset("news.en")
            >>> translator.map_dataset(sources).batch(100)
        """
        from keras_int8nmt.translation.datasets import map_strings

        return map_strings(dataset, self.translate, window, marks)

    def _translation(
        self, found: list[Hypothesis], source_cut: bool, tokenizer: Tokenizer | None = None
    ) -> Translation:
        """Texts by the tokenizer, if any; an empty hypothesis stands where there is none."""
        hypotheses = [
            Hypothesis(
                None if tokenizer is None else tokenizer.decode(each.tokens),
                each.tokens,
                each.score if self.options.return_scores else math.nan,
                each.finished,
            )
            for each in found or [Hypothesis(None, [], -math.inf, finished=False)]
        ]
        return Translation(hypotheses, source_cut)

    @property
    def _source_end(self) -> int | None:
        return source_end(self.tokenizer, self.model.eos_id)

    def _unfit(self, ids: list[int]) -> str | None:
        """What is wrong with the ids of a sentence; None where the model takes them."""
        vocabulary = self.model.settings["source_vocabulary_size"]
        end = self._source_end
        if end is not None and ids[-1:] != [end]:
            return f"does not end with the end token {end}"
        if not ids:
            return "has no tokens"
        if min(ids) < 0 or max(ids) >= vocabulary:
            return f"has a token id outside the source vocabulary [0, {vocabulary})"
        return None

    def _tell_remarks(self, texts: list[str], name: Callable[[int], str]) -> None:
        """One warning of what the tokenizer has to tell of some of the texts, if anything."""
        remark = getattr(self.tokenizer, "remark", None)
        if remark is None:
            return
        told = [f"{name(i)} {what}" for i, text in enumerate(texts) if (what := remark(text))]
        if told:
            more = len(told) - _NAMED
            warnings.warn(
                "; ".join(told[:_NAMED]) + (f"; and so {more} more" if more > 0 else "") + ".",
                stacklevel=3,
            )

    def _cut(self, sentences: dict[int, list[int]], name: Callable[[int], str]) -> set[int]:
        """Cuts those that are too long, with one warning that names them; returns which."""
        longest = self.max_source_length
        lengths = {i: len(ids) for i, ids in sentences.items() if len(ids) > longest}
        for i in lengths:
            sentences[i] = cut_ids(sentences[i], longest, self._source_end)
        if lengths:
            named = [f"{name(i)} has {n} tokens" for i, n in islice(lengths.items(), _NAMED)]
            more = len(lengths) - len(named)
            warnings.warn(
                ", ".join(named)
                + (f" and {more} more have too many" if more else "")
                + f"; longer ones than {longest} are cut.",
                stacklevel=3,
            )
        return set(lengths)

    @property
    def beam_size(self) -> int:
        return self.options.beam_size

    @property
    def num_hypotheses(self) -> int:
        return self.options.num_hypotheses

    @property
    def max_length(self) -> int:
        """Most tokens of a translation, at most the model's `max_length`."""
        return self.options.max_length

    @property
    def min_length(self) -> int:
        return self.options.min_length

    @property
    def length_penalty(self) -> float:
        return self.options.length_penalty

    # ---- the two engines ----

    @property
    def path(self) -> str:
        """ "fast" (the native decoder) or "layers" (the model's own layers): what would run now."""
        return "layers" if self._reason() is not None else "fast"

    @property
    def path_reason(self) -> str | None:
        """Why the native decoder is not used; None if it is."""
        return self._reason()

    def _reason(self) -> str | None:
        return (
            "it was asked for"
            if self._asked == "layers"
            else native_refusal(self.model, self.options)
        )

    def _begin(self, sentences: list[list[int]], keys: list[int]) -> SearchResults:
        reason = self._reason()
        if reason is None:
            return self.native_engine.begin(sentences, keys)
        if self._asked == "fast":
            raise RuntimeError(f'`path="fast"` is not possible: {reason}.')
        return self.graph_engine.begin(sentences, keys)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the engine that would run now raises for a sentence that it can't translate."""
        return (self.native_engine if self._reason() is None else self.graph_engine).errors

    @property
    def native_engine(self) -> NativeEngine:
        """The native decoder of this translator."""
        with self._making:
            if self._native_engine is None:
                self._native_engine = NativeEngine(
                    self.model,
                    self.options,
                    self.batch_size,
                    self.streams,
                    self.threads_per_stream,
                    self.max_source_length,
                )
            return self._native_engine

    @property
    def graph_engine(self) -> Engine:
        """The model's own layers in TensorFlow's loop."""
        with self._making:
            if self._graph_engine is None:
                self._graph_engine = self.model.graph_engine(
                    self.options, self.batch_size, self.streams, self.max_batch_tokens
                )
            return self._graph_engine

    def close(self) -> None:
        """Ends the native decoder's threads; translating again begins new ones."""
        if self._native_engine is not None:
            self._native_engine.close()

    def __enter__(self) -> Translator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_content(folder: Path, card: dict[str, Any], names: Sequence[str]) -> None:
    # What takes longest is begun first.
    for name in sorted(names, key=lambda name: -card["files"][name]["bytes"]):
        check_file(folder, card, name)


def _sentence(i: int) -> str:
    return f"Sentence {i}"


def _whole_ids(sentence: Sequence[int], i: int, name: Callable[[int], str]) -> list[int]:
    """The token ids of sentence `i`; a TypeError for what is none, which would else be rounded."""
    if isinstance(sentence, str | bytes) or not isinstance(sentence, Iterable):
        raise TypeError(f"{name(i)} must be token ids; it is {sentence!r}.")
    tokens = list(sentence)
    kinds = set(map(type, tokens))
    if kinds <= {int}:
        return tokens
    try:
        ids = [index(token) for token in tokens]
        if bool not in kinds:
            return ids
    except TypeError:
        pass
    at = next(k for k, token in enumerate(tokens) if not _is_whole(token))
    raise TypeError(f"{name(i)} has {tokens[at]!r} at place {at}; token ids are whole numbers.")


def _is_whole(token: Any) -> bool:
    try:
        index(token)
    except TypeError:
        return False
    return not isinstance(token, bool)


def _load_again(
    kind: type[Translator], folder: str, verify: str, options: dict[str, Any]
) -> Translator:
    return kind.load(folder, verify=verify, **options)


def _check_ids(place: Path, model: Any, tokenizer: Any) -> None:
    """Raises ModelFolderError where a folder's model and tokenizer are not of one another."""
    for name in ("pad_id", "eos_id") if tokenizer is not None else ():
        ours, theirs = getattr(model, name), getattr(tokenizer, name, None)
        if ours != theirs:
            raise ModelFolderError(
                f"In {str(place)!r} the `{name}` of the model is {ours}, of the tokenizer {theirs}."
            )


def load_translator(
    folder: str | os.PathLike[str], *, verify: str = "full", **options: Any
) -> Translator:
    """`Translator.load`: a translator without Keras and TensorFlow.

    Example:

        >>> load_translator("en-de-int8")(["Where is the station?"])
        ['Wo ist der Bahnhof?']
    """
    return Translator.load(folder, verify=verify, **options)
