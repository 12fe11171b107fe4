"""sacreBLEU's test sets by name: `wmt14`, `wmt14/full`, `iwslt17`, ... with their references."""

from __future__ import annotations

import os
from typing import NamedTuple

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.files.lines import read_lines


class NamedSetError(KerasInt8nmtError, ValueError):
    """A test set is not known, or can't be had here; the message says what there is instead."""


class NamedSet(NamedTuple):
    """A test set.

    Attributes:
        name: As sacreBLEU calls it.
        pair: Languages, such as "en-de".
        sources: Sentences.
        references: Their translations, one list for each translator.
    """

    name: str
    pair: str
    sources: list[str]
    references: list[list[str]]

    @property
    def label(self) -> dict[str, str]:
        """For `metrics.signatures`."""
        return {"test": self.name, "lang": self.pair}


def load_named_set(name: str, pair: str) -> NamedSet:
    """A test set of sacreBLEU, from its cache folder or, the first time, from the network.

    The cache folder is `$SACREBLEU`, by default `~/.sacrebleu`.

    Args:
        name: One of `known_sets()`, such as "wmt14" or "wmt14/full".
        pair: One of its language pairs, such as "en-de".

    Raises:
        NamedSetError: for a name or a pair that sacreBLEU does not know, with those that it does;
            and where the set is not in the cache folder and can't be downloaded, with that folder.

    Example:

        >>> test = load_named_set("wmt14", "en-de")
        >>> len(test.sources), len(test.references)
        (2737, 1)
    """
    from sacrebleu import utils

    if name not in utils.DATASETS:
        known = ", ".join(known_sets())
        raise NamedSetError(f"sacreBLEU has no test set {name!r}; it has: {known}.")
    pairs = utils.get_langpairs_for_testset(name)
    if pair not in pairs:
        raise NamedSetError(
            f"The test set {name!r} has no language pair {pair!r}; it has: "
            f"{', '.join(sorted(pairs))}."
        )
    sources, *references = _files(name, pair)
    columns = [read_lines(path) for path in (sources, *references)]
    if len({len(lines) for lines in columns}) != 1:
        counts = ", ".join(
            f"{os.path.basename(path)} {len(lines)}"
            for path, lines in zip((sources, *references), columns, strict=True)
        )
        raise NamedSetError(
            f"The files of {name!r} in {_folder(name)} have not as many lines: {counts}. Delete "
            "that folder to have them downloaded again."
        )
    return NamedSet(name, pair, columns[0], columns[1:])


def known_sets() -> list[str]:
    """The names of sacreBLEU's test sets, in alphabetical order."""
    from sacrebleu import utils

    return sorted(utils.get_available_testsets())


def _files(name: str, pair: str) -> list[str]:
    """Paths of the source and of each reference; downloads them if they are not there."""
    from sacrebleu import utils

    try:
        source = utils.get_source_file(name, pair)
        references = utils.get_reference_files(name, pair)
    # After a wrong checksum or a failed handshake sacreBLEU ends the process.
    except (Exception, SystemExit) as error:
        why = "sacreBLEU says why above" if isinstance(error, SystemExit) else str(error)
        raise NamedSetError(
            f"The test set {name!r} ({pair}) is not in {_folder(name)} and can't be downloaded: "
            f"{why}. Without the network copy that folder from a machine that has it, or give "
            "sentences and references as files with --src and --ref."
        ) from error
    if not references:
        raise NamedSetError(f"The test set {name!r} ({pair}) has no references.")
    return [source, *references]


def _folder(name: str) -> str:
    from sacrebleu import utils

    return os.path.join(utils.SACREBLEU_DIR, name)
