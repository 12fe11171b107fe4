"""What `torch.save` has pickled, read by a machine that knows tensors and can do nothing else.

A pickle is a program that may call anything. This machine has no word for calling: it looks no name
up, and a few names stand for what it makes itself, which are records and dicts. Anything else is an
error before anything has happened.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from keras_int8nmt.importers.weights_file import WeightsFile, short

# The pickle of a model of a hundred layers has a tenth of it; its bytes bound its steps.
MOST_PICKLE = 4 << 20

# The types of storages, by the names that PyTorch pickles, and the bytes of an element.
_STORAGES = {
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "DoubleStorage": ("float64", 8),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}
_ORDERED_DICT = "collections.OrderedDict"
_REBUILD = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETER = "torch._utils._rebuild_parameter"
_KNOWN = {
    _ORDERED_DICT,
    *_REBUILD,
    _PARAMETER,
    *(f"torch.{name}" for name in _STORAGES),
}


class Storage(NamedTuple):
    """A row of numbers that lies outside of the pickle."""

    key: str
    dtype: str
    item_bytes: int
    elements: int


class PickledTensor(NamedTuple):
    """A tensor as PyTorch tells it: which elements of a storage it has, in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Name(NamedTuple):
    text: str


_MARK = object()


def read_pickle(file: WeightsFile, content: bytes, start: int = 0) -> tuple[Any, int]:
    """The value of one pickle, and where it ends.

    Args:
        file: The file that it is from, for errors.
        content: It begins at `start`; more may follow it.
        start: Where.

    Returns:
        `(value, end)`; the value is made of None, bool, int, float, str, bytes, tuple, list, dict,
        `Storage` and `PickledTensor`.

    Raises:
        The file's error: for a pickle that is damaged, or asks for anything else.
    """
    machine = _Machine(file, content, start)
    try:
        return machine.run(), machine.position
    except (IndexError, struct.error) as error:
        # The stack is empty, or the content at its end.
        raise file.damaged("its pickle ends too early, or is none") from error


class _Machine:
    def __init__(self, file: WeightsFile, content: bytes, start: int) -> None:
        self._file, self._content = file, content
        self.position = start
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        while True:
            at = self.position
            code = self._content[at]
            self.position += 1
            if code == ord("."):
                value = self._stack.pop()
                if self._stack:
                    raise self._file.damaged("its pickle leaves values over")
                return value
            step = _STEPS.get(code)
            if step is None:
                raise self._file.refused(
                    f"holds more than tensors: its pickle has the operation {bytes([code])!r} at "
                    f"{at}, which is not read; nothing of it was run"
                )
            step(self)

    def bytes(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._content):
            raise self._file.damaged("its pickle is truncated")
        content = self._content[self.position : end]
        self.position = end
        return content

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.bytes(struct.calcsize(form)))[0]

    def text(self, form: str) -> str:
        try:
            return self.bytes(self.number(form)).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise self._file.damaged("its pickle has text that is not UTF-8") from error

    def line(self) -> str:
        end = self._content.find(b"\n", self.position, self.position + 300)
        if end < 0:
            raise self._file.damaged("its pickle has a name without an end")
        return self.bytes(end + 1 - self.position)[:-1].decode("latin-1")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise self._file.damaged("its pickle is in disorder")
        return value

    def pop_to_mark(self) -> list[Any]:
        for i in range(len(self._stack) - 1, -1, -1):
            if self._stack[i] is _MARK:
                values = self._stack[i + 1 :]
                del self._stack[i:]
                return values
        raise self._file.damaged("its pickle is in disorder")

    def remember(self, index: int) -> None:
        if self._stack[-1] is _MARK:
            raise self._file.damaged("its pickle is in disorder")
        self._memo[index] = self._stack[-1]

    def recall(self, index: int) -> None:
        if index not in self._memo:
            raise self._file.damaged(f"its pickle reads value {index}, and has none")
        self.push(self._memo[index])

    def name(self, module: Any, name: Any) -> None:
        text = f"{module}.{name}"
        if text not in _KNOWN:
            raise self._refused(text)
        self.push(_Name(text))

    def _refused(self, text: str) -> Exception:
        return self._file.refused(
            f"holds more than tensors: its pickle asks for {short(text)}, which is not read; "
            "nothing of it was run"
        )

    def call(self) -> None:
        """What stands for a call: the few names make records and dicts."""
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise self._file.refused(
                "holds more than tensors: its pickle calls what is no name of tensors; nothing of "
                "it was run"
            )
        if name.text == _ORDERED_DICT:
            self.push(self._ordered_dict(arguments))
        elif name.text in _REBUILD:
            self.push(self._tensor(arguments))
        elif name.text == _PARAMETER and arguments and isinstance(arguments[0], PickledTensor):
            self.push(arguments[0])
        else:
            raise self._refused(name.text)

    def _ordered_dict(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        # Python 2 gave the items so.
        for pair in arguments[0] if arguments and isinstance(arguments[0], list) else ():
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise self._file.damaged("its pickle has an OrderedDict of no pairs")
            self._set(made, pair[0], pair[1])
        return made

    def _tensor(self, arguments: tuple[Any, ...]) -> PickledTensor:
        wrong = self._file.damaged("its pickle has a tensor that is described wrongly")
        if len(arguments) < 4:
            raise wrong
        storage, offset, size, stride = arguments[:4]
        if not isinstance(storage, Storage) or type(offset) is not int:
            raise wrong
        return PickledTensor(
            storage, offset, self._file.shape("", size), self._file.shape("", stride)
        )

    def storage(self) -> None:
        """A persistent id: `("storage", type, key, device, count)`, in old files one more."""
        told = self.pop()
        wrong = self._file.damaged("its pickle has a storage that is described wrongly")
        if not isinstance(told, tuple) or not 5 <= len(told) <= 6 or told[0] != "storage":
            raise wrong
        kind, key, count = told[1], told[2], told[4]
        if not isinstance(kind, _Name) or kind.text.removeprefix("torch.") not in _STORAGES:
            raise wrong
        if not isinstance(key, str) or type(count) is not int or not 0 <= count < 1 << 48:
            raise wrong
        if told[5:] not in ((), (None,)):
            raise self._file.refused("has a view of a storage, which is not read; save it again")
        self.push(Storage(key, *_STORAGES[kind.text.removeprefix("torch.")], count))

    def _set(self, target: Any, key: Any, value: Any) -> None:
        # Not of tuples: what is nested deep has no hash that can be had.
        if type(key) not in (str, int):
            raise self._file.damaged("its pickle has a dict whose keys are no text")
        if key in target:
            raise self._file.damaged(f"its pickle has {short(key)} twice")
        target[key] = value

    def set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise self._file.damaged("its pickle is in disorder")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(target, key, value)

    def append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise self._file.damaged("its pickle is in disorder")
        target.extend(items)

    def attributes(self) -> None:
        """Attributes of an OrderedDict, such as `_metadata`: left out, and set on nothing."""
        told = self.pop()
        if type(told) is not dict or type(self._stack[-1]) is not dict:
            raise self._file.refused(
                "holds more than tensors: its pickle sets the state of an object, which is not "
                "read; nothing of it was run"
            )


def _pair(machine: _Machine) -> list[Any]:
    value, key = machine.pop(), machine.pop()
    return [key, value]


def _last(machine: _Machine, count: int) -> tuple[Any, ...]:
    return tuple([machine.pop() for _ in range(count)][::-1])


def _long(machine: _Machine, count: int) -> int:
    return int.from_bytes(machine.bytes(count), "little", signed=True)


# Protocols 0 and 1 have others, and so has what pickles code.
_STEPS: dict[int, Callable[[_Machine], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m.bytes(1),
        "\x95": lambda m: m.bytes(8),  # a frame's length
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "K": lambda m: m.push(m.number("<B")),
        "M": lambda m: m.push(m.number("<H")),
        "J": lambda m: m.push(m.number("<i")),
        "\x8a": lambda m: m.push(_long(m, m.number("<B"))),
        "G": lambda m: m.push(m.number(">d")),
        "X": lambda m: m.push(m.text("<I")),
        "\x8c": lambda m: m.push(m.text("<B")),
        # Python 2's text.
        "U": lambda m: m.push(m.bytes(m.number("<B")).decode("latin-1")),
        "T": lambda m: m.push(m.bytes(m.number("<I")).decode("latin-1")),
        "(": lambda m: m.push(_MARK),
        ")": lambda m: m.push(()),
        "\x85": lambda m: m.push(_last(m, 1)),
        "\x86": lambda m: m.push(_last(m, 2)),
        "\x87": lambda m: m.push(_last(m, 3)),
        "t": lambda m: m.push(tuple(m.pop_to_mark())),
        "]": lambda m: m.push([]),
        "l": lambda m: m.push(m.pop_to_mark()),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.pop_to_mark()),
        "}": lambda m: m.push({}),
        "s": lambda m: m.set_items(_pair(m)),
        "u": lambda m: m.set_items(m.pop_to_mark()),
        "q": lambda m: m.remember(m.number("<B")),
        "r": lambda m: m.remember(m.number("<I")),
        "\x94": lambda m: m.remember(len(m._memo)),
        "h": lambda m: m.recall(m.number("<B")),
        "j": lambda m: m.recall(m.number("<I")),
        "c": lambda m: m.name(m.line(), m.line()),
        "\x93": lambda m: m.name(*_last(m, 2)),
        "Q": lambda m: m.storage(),
        "R": lambda m: m.call(),
        "b": lambda m: m.attributes(),
    }.items()
}
