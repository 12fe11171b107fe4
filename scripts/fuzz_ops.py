"""Calls the ops from Python with any arguments, in processes of their own: none may die.

An error that TensorFlow gives is fine, the end of a process is not. One that died is told with
its seed and the number of its call, and `--seed S --first N --calls 1` makes that call again.

    python scripts/fuzz_ops.py --calls 100000
    python scripts/fuzz_ops.py --calls 1000000 --processes 8
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

# A dim that no memory has, beside a dim of 0.
HUGE = (1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1)
WHOLE = (
    0,
    1,
    2,
    3,
    5,
    -1,
    1 << 31,
    (1 << 31) - 1,
    1 << 32,
    (1 << 32) + 1,
    -(1 << 63),
    (1 << 63) - 1,
)
FLOATS = (0.0, 1.0, -1.0, 0.5, 3e38, -3e38, 1e-45, float("nan"), float("inf"), float("-inf"))


class Calls:
    """Random calls of the raw ops, the same ones for the same seed."""

    def __init__(self, raw: Any, seed: int) -> None:
        import tensorflow as tf

        self.tf, self.raw, self.seed = tf, raw, seed
        weights = np.arange(-30, 30, dtype=np.int8).reshape(12, 5)
        self.packed = raw.keras_int8nmt_pack_weights(weights=weights).numpy()
        self.packed_float = raw.keras_int8nmt_pack_float(
            weights=np.ones((12, 5), np.float32)
        ).numpy()
        self.makers = [
            value for name, value in sorted(vars(type(self)).items()) if name.startswith("op_")
        ]

    def __call__(self, number: int) -> str:
        """Makes call `number`; what came of it: "ok" or the name of an error."""
        self.random = np.random.default_rng((self.seed, number))
        make = self.makers[self.random.integers(len(self.makers))]
        try:
            name, arguments = make(self)
            if self.odd(0.15):
                arguments[self.pick(sorted(arguments))] = self.anything()
            getattr(self.raw, "keras_int8nmt_" + name)(**arguments)
        except (self.tf.errors.OpError, TypeError, ValueError, OverflowError) as error:
            return type(error).__name__
        return "ok"

    def odd(self, share: float = 0.05) -> bool:
        return bool(self.random.random() < share)

    def pick(self, choices: Any) -> Any:
        return choices[self.random.integers(len(choices))]

    def below(self, count: int) -> int:
        return int(self.random.integers(count))

    def dims(self, *wanted: int) -> list[int]:
        """Mostly `wanted`; else of another rank, or with a 0 beside what no memory has."""
        if not self.odd():
            return list(wanted)
        kind = self.below(4)
        if kind == 0:
            return [self.below(4) for _ in range(self.below(5))]
        if kind == 1:
            return [*wanted, self.below(3)]
        if kind == 2:
            return [0, *(self.pick((1, 2, self.pick(HUGE))) for _ in range(self.below(2)))]
        # Up to the 0 the product fits into 64 bits, as it must in a tensor.
        return [self.pick(HUGE[:3]), 0, *([self.pick(HUGE[:2])] * self.below(2))]

    def tensor(self, dtype: Any, *wanted: int, most: int = 100) -> Any:
        dims = self.dims(*wanted)
        dtype = np.dtype(dtype)
        if 0 in dims:
            return self.tf.zeros(dims, self.tf.as_dtype(dtype))
        if dtype.kind == "f":
            values = self.random.standard_normal(dims, np.float32)
            if values.size and self.odd():
                values.flat[self.below(values.size)] = self.pick(FLOATS)
            return values
        least = 0 if dtype.kind in "ub" or most < 100 else -min(most, 100)
        values = np.asarray(self.random.integers(least, max(most, least + 1), dims)).astype(dtype)
        if values.size and self.odd():
            with np.errstate(all="ignore"):
                values.flat[self.below(values.size)] = np.int64(self.pick(WHOLE)).astype(dtype)
        return values

    def anything(self) -> Any:
        kind = self.below(4)
        if kind == 0:
            return self.pick(WHOLE)
        if kind == 1:
            return self.pick(FLOATS)
        if kind == 2:
            return self.pick(("", "relu", "x" * 300))
        return self.tensor(self.pick((np.int8, np.uint8, np.int32, np.float32)), self.below(4), 2)

    def output(self) -> dict[str, Any]:
        kind = self.pick(("float32", "int8", "uint8"))
        point = 0 if kind == "float32" else self.below(4)
        return {"Tout": self.tf.as_dtype(kind), "out_scale": 1.0, "out_zero_point": point}

    def blob(self) -> Any:
        blob = self.packed.copy()
        if self.odd(0.2):
            blob[self.below(len(blob))] ^= 1 << self.below(8)
        return blob[: self.below(len(blob))] if self.odd() else blob

    def op_gather(self) -> tuple[str, dict[str, Any]]:
        dtype = self.pick((np.int8, np.uint8, np.int32, np.float32))
        rows = 1 + self.below(5)
        if self.odd():
            x = self.tf.zeros([1, self.pick(HUGE[:3]), 0], self.tf.as_dtype(dtype))
        else:
            x = self.tensor(dtype, rows, *(self.below(40) for _ in range(self.below(3))))
        indices = self.tensor(self.pick((np.int32, np.int64)), self.below(5), most=rows)
        return "gather", {"x": x, "indices": indices, "batch_dims": self.pick((0, 0, 0, 1))}

    def op_embedding(self) -> tuple[str, dict[str, Any]]:
        words = 1 + self.below(6)
        return "embedding", {
            "table": self.tensor(np.int8, words, self.below(70)),
            "inv_scales": self.tensor(np.float32, words),
            "indices": self.tensor(np.int32, self.below(3), self.below(3), most=words),
            "multiplier": self.pick((1.0, *FLOATS)),
        }

    def op_mat_mul(self) -> tuple[str, dict[str, Any]]:
        return "mat_mul", {
            "x": self.tensor(self.pick((np.int8, np.uint8)), self.below(4), 12),
            "packed": self.blob(),
            "scales": self.tensor(np.float32, 5),
            "bias": self.tensor(np.float32, 5),
            "activation": self.pick(("none", "relu", "gelu", "gelu_tanh", "swish")),
            **self.output(),
        }

    def op_dynamic(self) -> tuple[str, dict[str, Any]]:
        return "dynamic_mat_mul", {
            "x": self.tensor(np.float32, self.below(4), 12),
            "packed": self.blob(),
            "scales": self.tensor(np.float32, 5),
            "bias": self.tensor(np.float32, 5),
        }

    def op_pack(self) -> tuple[str, dict[str, Any]]:
        return "pack_weights", {"weights": self.tensor(np.int8, self.below(70), self.below(70))}

    def op_unpack(self) -> tuple[str, dict[str, Any]]:
        return "unpack_weights", {"packed": self.blob()}

    def op_quantize(self) -> tuple[str, dict[str, Any]]:
        shape = self.below(4), self.below(40)
        rest = {"zero_point": self.below(3)}
        if self.odd(0.5):
            q = self.tensor(self.pick((np.int8, np.uint8)), *shape)
            return "dequantize", {"q": q, "inv_scale": self.pick((0.5, *FLOATS)), **rest}
        kind = self.tf.as_dtype(self.pick(("int8", "uint8")))
        x = self.tensor(np.float32, *shape)
        return "quantize", {"x": x, "Tout": kind, "scale": self.pick((0.5, *FLOATS)), **rest}

    def op_layer_norm(self) -> tuple[str, dict[str, Any]]:
        rows, columns = self.below(4), self.below(70)
        residual = (0,) if self.odd(0.5) else (rows, columns)
        return "layer_norm", {
            "x": self.tensor(np.float32, rows, columns),
            "residual": self.tensor(np.float32, *residual),
            "gamma": self.tensor(np.float32, columns),
            "beta": self.tensor(np.float32, columns),
            "epsilon": self.pick((1e-5, 1e-5, *FLOATS)),
            "carry_sum": self.odd(0.5),
            "integer": self.odd(0.5),
            **self.output(),
        }

    def op_attention(self) -> tuple[str, dict[str, Any]]:
        heads, dim, batch, rows = (1 + self.below(3) for _ in range(4))
        keys, column = self.below(20), self.below(2)
        width = column + heads * dim
        mask = self.pick(((0,), (batch, rows, keys), (1, 1, keys)))
        return "attention", {
            "query": self.tensor(np.int8, batch * rows, width),
            "key": self.tensor(np.int8, batch, keys, width),
            "value": self.tensor(np.int8, batch, keys, width),
            "lengths": self.tensor(np.int32, batch, most=keys + 1),
            "mask": self.tensor(np.bool_, *mask, most=2),
            "offset": self.below(3),
            **{"num_heads": heads, "head_dim": dim, "value_dim": dim, "scale": 0.1},
            **dict.fromkeys(("query_column", "key_column", "value_column"), column),
            "causal": self.odd(0.5),
            "integer_softmax": self.odd(0.5),
            **self.output(),
        }

    def op_cache_append(self) -> tuple[str, dict[str, Any]]:
        batch, length, columns, column = (
            1 + self.below(3),
            self.below(9),
            self.below(20),
            self.below(3),
        )
        return "cache_append", {
            "cache": self.tensor(np.int8, batch, length, columns),
            "update": self.tensor(np.int8, batch * self.below(3), column + columns),
            "index": self.below(9),
            "column": column,
        }

    def op_top_k(self) -> tuple[str, dict[str, Any]]:
        logits = self.tensor(np.float32, self.below(4), self.below(600))
        return "top_k_log_probs", {"logits": logits, "k": 1 + self.below(4), "forbidden": -1}

    def op_float(self) -> tuple[str, dict[str, Any]]:
        return "float_mat_mul", {
            "x": self.tensor(np.float32, self.below(4), 12),
            "packed": self.packed_float,
            "bias": self.tensor(np.float32, 5),
        }


def work(seed: int, first: int, calls: int, place: Path) -> None:
    """Makes the calls; `place` holds the number of the one that is being made."""
    from keras_int8nmt import native

    make = Calls(native.require(), seed)
    told: Counter[str] = Counter()
    with place.open("wb", buffering=0) as file:
        for number in range(first, first + calls):
            file.seek(0)
            file.write(b"%12d" % number)
            told[make(number)] += 1
    print(" ".join(f"{name}={count}" for name, count in sorted(told.items())))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000, help="of all processes together")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first call of each")
    parser.add_argument("--place", type=Path, help="of a worker; not for people")
    options = parser.parse_args()
    if options.place is not None:
        work(options.seed, options.first, options.calls, options.place)
        return 0
    each = -(-options.calls // options.processes)
    told: Counter[str] = Counter()
    died = 0
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for i in range(options.processes):
            seed, place = options.seed + i, Path(folder) / str(i)
            words = ["--seed", seed, "--first", options.first, "--calls", each, "--place", place]
            command = [sys.executable, __file__, *map(str, words)]
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            started.append((seed, place, process))
        for seed, place, process in started:
            out, err = process.communicate()
            if process.returncode == 0:
                for word in out.split():
                    name, _, count = word.partition("=")
                    told[name] += int(count)
                continue
            died += 1
            call = place.read_text().strip() if place.exists() else "none"
            print(
                f"a process ended with {process.returncode}: --seed {seed} --first {call} --calls 1"
            )
            print("\n".join(err.splitlines()[-5:]))
    print(f"{sum(told.values())} calls, {died} crashes: {dict(sorted(told.items()))}")
    return 1 if died else 0


if __name__ == "__main__":
    sys.exit(main())
