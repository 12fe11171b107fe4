"""Seeded mutations of a folder's files: of bytes, of JSON's values, of what a name leads to."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

from keras_int8nmt.storage.card import CARD_FILE, seal_card

NASTY: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**400, 1e308, -0.5, "", "\0", "\ud800", "x" * 5000,
    "../../x", [], {}, [[]], [1, -1], {"": None}, json.loads("[" * 90 + "]" * 90),
]  # fmt: skip
SPECIAL = ("fifo", "folder", "nowhere", "/dev/zero", "/dev/full", "/proc/self/mem", "/proc/kmsg")


def mutate(folder: Path, rng: random.Random) -> str:
    """Changes one file of a folder, and seals its card again more often than not; says what."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    name = str(path.relative_to(folder))
    how = rng.choice(WAYS)
    how(path, rng)
    sealed = name != CARD_FILE and (folder / CARD_FILE).is_file() and rng.random() < 0.8
    if sealed:
        seal_again(folder, name)
    return f"{how.__name__} of {name}{', sealed' if sealed else ''}"


def seal_again(folder: Path, name: str) -> None:
    """A card with the checksum that a changed file has: its parser is what is tried then."""
    card = json.loads((folder / CARD_FILE).read_bytes())
    path = folder / name
    if path.is_file() and not path.is_symlink():
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        card["files"][name] = {"bytes": len(content), "sha256": digest}
        seal_card(folder, card)


def bits(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 3, 20))):
        # The beginning, where headers are, as often as all the rest.
        end = rng.choice((min(len(content), 300), len(content)))
        content[rng.randrange(end)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def runs(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    at = rng.randrange(rng.choice((min(len(content), 300), len(content))))
    length = rng.choice((1, 2, 4, 8, 100))
    piece = rng.choice((b"\xff" * length, bytes(length), rng.randbytes(length), b""))
    content[at : at + rng.choice((0, length))] = piece
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    size = path.stat().st_size
    os.truncate(path, rng.choice((0, 1, 8, size // 2, size - 1, size + 1, rng.randrange(size))))


def value(path: Path, rng: random.Random) -> None:
    """Another value in JSON, wherever a file holds some."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        length = int.from_bytes(content[:8], "little")
        header = changed_json(content[8 : 8 + length], rng)
        path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    elif path.suffix == ".keras":
        members = {}
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(sorted(members))
        if name.endswith(".json"):
            members[name] = changed_json(members[name], rng)
        else:
            changed = bytearray(members[name])
            for _ in range(rng.choice((1, 20))):
                changed[rng.randrange(rng.choice((4000, len(changed))))] = rng.randrange(256)
            members[name] = bytes(changed)
        with zipfile.ZipFile(path, "w") as archive:
            for name, member in members.items():
                archive.writestr(name, member)
    elif path.suffix == ".json":
        path.write_bytes(changed_json(content, rng))
    else:
        bits(path, rng)


def changed_json(content: bytes, rng: random.Random) -> bytes:
    root = json.loads(content)
    places: list[tuple[Any, Any]] = []
    todo = [root]
    while todo:
        each = todo.pop()
        keys = list(each) if isinstance(each, dict) else list(range(len(each)))
        # Of a large one, such as a vocabulary, some will do.
        for key in rng.sample(keys, min(len(keys), 50)):
            places.append((each, key))
            if isinstance(each[key], dict | list):
                todo.append(each[key])
    each, key = rng.choice(places)
    what = rng.randrange(4)
    if what == 0:
        del each[key]
    elif what == 1 and isinstance(each, dict):
        each[rng.choice(("x", "", "\0", key + key))] = each.pop(key)
    else:
        each[key] = rng.choice(NASTY)
    return json.dumps(root).encode()


def special(path: Path, rng: random.Random) -> None:
    kind = rng.choice(SPECIAL)
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)


WAYS = (bits, bits, runs, cut, value, value, value, special)


def copy_folder(source: Path, target: Path) -> None:
    """The files of `source` and no others, in `target`."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)
