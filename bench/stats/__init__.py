"""The statistics of the whole program: pure functions of arrays, no files and no records.

`pivot` holds the one idea that every interval rests on, `noise` is training luck, `paired` compares two
runs, `together` speaks about a whole table, `ranks` orders a board, `shifts` reads a history. scipy is
imported on first use, so `import bench.stats` is cheap.
"""

from bench.stats.best import expected_best
from bench.stats.noise import ENOUGH_SEEDS, Noise, SeedEffects, noise_of_row, seed_effects, seed_noise
from bench.stats.paired import PairedDifference, compare, mean_interval, paired_interval
from bench.stats.pivot import Interval
from bench.stats.ranks import rank_ranges
from bench.stats.shifts import Shifts, Slope, Step, find_shifts
from bench.stats.together import PooledShift, SignTest, Verdict, holm, pooled_shift, sign_test, verdict

__all__ = [
    "ENOUGH_SEEDS",
    "PairedDifference",
    "Interval",
    "Noise",
    "SeedEffects",
    "PooledShift",
    "Shifts",
    "Slope",
    "Step",
    "SignTest",
    "Verdict",
    "compare",
    "expected_best",
    "find_shifts",
    "holm",
    "mean_interval",
    "noise_of_row",
    "paired_interval",
    "pooled_shift",
    "rank_ranges",
    "seed_effects",
    "seed_noise",
    "sign_test",
    "verdict",
]
