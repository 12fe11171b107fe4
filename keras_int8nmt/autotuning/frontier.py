"""Which MatMuls to leave float for each amount of time: a knapsack, solved for all amounts at once.

Leaving a MatMul float costs the time that INT8 would have saved, and takes away its share of the
harm. A set is on the frontier if no cheaper one takes away as much.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Costs are rounded up to this part of their sum, so that the table has that many columns.
UNITS = 20000


class Frontier:
    """The sets of the frontier, from nothing in float to everything, costs rising.

    Args:
        costs: What leaving each MatMul float costs, at least 0.
        harms: What its INT8 is thought to do, at least 0; only ratios matter.
    """

    def __init__(self, costs: Mapping[str, float], harms: Mapping[str, float]) -> None:
        self._names = list(costs)
        total = sum(costs.values())
        scale = UNITS / total if total > 0 else 0.0
        self._units = [int(np.ceil(costs[name] * scale - 1e-9)) for name in self._names]
        size = sum(self._units) + 1
        best = np.zeros(size)
        self._taken = np.zeros((len(self._names), size), bool)
        for taken, name, units in zip(self._taken, self._names, self._units, strict=True):
            harm = float(harms[name])
            with_it = np.full(size, -1.0)
            with_it[units:] = best[: size - units] + harm
            # What does no harm, or no more than rounding, is left in INT8.
            np.greater(with_it, best * (1 + 1e-12), out=taken)
            best = np.where(taken, with_it, best)
        whole = float(sum(harms[name] for name in self._names))
        # Sums in another order differ by rounding, which is no step.
        rises = np.diff(best) > 1e-12 * whole
        self._columns = [0, *(int(c) + 1 for c in np.flatnonzero(rises))]
        # What is left of rounding is nothing.
        lefts = [whole - float(best[c]) for c in self._columns]
        self._left = [left if left > 1e-12 * whole else 0.0 for left in lefts]
        # What does no harm by itself may yet do it together, so the end is everything.
        if len(self[-1]) < len(self._names):
            self._columns.append(size)
            self._left.append(0.0)
        if self[0]:
            # What costs nothing is float from the first set on, but there is a set without it.
            self._columns.insert(0, -1)
            self._left.insert(0, whole)

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, index: int) -> frozenset[str]:
        column = self._columns[index]
        if column < 0:
            return frozenset()
        if column == self._taken.shape[1]:
            return frozenset(self._names)
        found = set()
        for i in reversed(range(len(self._names))):
            if self._taken[i, column]:
                found.add(self._names[i])
                column -= self._units[i]
        return frozenset(found)

    def cost(self, index: int) -> float:
        """The cost of a set as a part of that of everything."""
        columns = len(self._taken[0]) - 1 if self._names else 0
        return min(max(self._columns[index], 0) / columns, 1.0) if columns else 0.0

    def left(self, index: int) -> float:
        """The part of all harm that a set leaves, from 1 to 0."""
        return self._left[index] / self._left[0] if self._left[0] > 0 else 0.0

    def first_with(self, left: float) -> int:
        """The first set that leaves no more than this part of the harm."""
        return next((i for i in range(len(self)) if self.left(i) <= left), len(self) - 1)
