"""The search for a threshold by KL divergence in plain loops, for the tests of two modes."""

import math


def plain_divergence(counts, levels, kept, empty=1e-4):
    """KL(P || Q) as the paper tells it, bin by bin; infinite where P clips more than half."""
    clipped = sum(counts[kept:])
    if clipped > sum(counts) / 2:
        return math.inf
    p = [float(c) for c in counts[:kept]]
    p[-1] += clipped
    q = [0.0] * kept
    groups = [[] for _ in range(levels)]
    for j in range(kept):
        groups[j * levels // kept].append(j)
    for bins in groups:
        occupied = [j for j in bins if p[j] > 0]
        mass = float(sum(counts[j] for j in bins))
        if occupied and mass == 0:
            mass = empty
        for j in occupied:
            q[j] = mass / len(occupied)
    if any(a > 0 and b == 0 for a, b in zip(p, q, strict=True)):
        return math.inf
    p_sum, q_sum = sum(p), sum(q)
    return sum(
        a / p_sum * math.log(a / p_sum / (b / q_sum)) for a, b in zip(p, q, strict=True) if a > 0
    )


def plain_search(counts, levels, empty=1e-4):
    """The divergence of each threshold from the number of levels to the last occupied bin."""
    counts = [int(c) for c in counts]
    while counts[-1] == 0:
        counts.pop()
    counts[0] = counts[1]
    return {i: plain_divergence(counts, levels, i, empty) for i in range(levels, len(counts) + 1)}
