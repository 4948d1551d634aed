"""Time and memory of drawing a pool from a table as large as Amazon polarity: four Parquet shards of 900,000 reviews.

The reviews are random words, as long as real ones; nothing is downloaded. One process reads for the pool, another one
the whole table.

Command:  python benchmarks/pool.py                  # about four minutes, 4 GiB of memory, 600 MB of disk
          python benchmarks/pool.py --rows 90000     # a tenth of it
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

SHARDS = 4
WORDS = np.array([f"word{number}" for number in range(30)])

READ = """
import resource, sys, time
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import TaskData

started = time.monotonic()
task = TaskData(TaskConfig("amazon_polarity", sys.argv[1], pool=int(sys.argv[2]) or None))
print(task.reading.describe())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"{time.monotonic() - started:.1f} s, peak memory {peak:.2f} GiB")
"""


def write_shard(path: Path, rows: int, seed: int) -> None:
    """Reviews of 30 to 110 words; no two are alike."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(30, 110, rows)
    words, ends = WORDS[rng.integers(0, len(WORDS), lengths.sum())], np.cumsum(lengths)
    texts = [f"{' '.join(words[end - length : end])} {end}" for end, length in zip(ends, lengths, strict=True)]
    columns = {"label": rng.integers(0, 2, rows), "title": [text[:20] for text in texts], "content": texts}
    pyarrow.parquet.write_table(pa.table(columns), path, row_group_size=100_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=900_000, help="of each shard")
    parser.add_argument("--pool", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for shard in range(SHARDS):
            write_shard(Path(folder) / f"train-{shard:05d}-of-{SHARDS:05d}.parquet", options.rows, shard)
        for pool in (options.pool, 0):
            print(f"pool of {pool:,}:" if pool else "whole:", flush=True)
            subprocess.run([sys.executable, "-c", READ, f"{folder}/*.parquet", str(pool)], check=True)


if __name__ == "__main__":
    main()
