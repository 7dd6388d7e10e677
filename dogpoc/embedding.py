"""A run's features of photos -> fewer numbers a photo, what is alike in them, and a map.

Features are centred by `reduce`; alike is measured by the cosine between centred rows: 1 = same direction, 0 =
nothing in common, -1 = opposite.
"""

import numpy as np

DIMENSIONS = 128  # kept of a run's features
WIDE = 4096  # features from which on the covariance takes too long
PERPLEXITY = 30  # of t-SNE: about how many neighbours each photo has (van der Maaten & Hinton, 2008)


def reduce(features: np.ndarray, d: int = DIMENSIONS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal components of features (N, D), the largest first: components (N, d), mean (D,), basis (D, d).

    components = (features - mean) @ basis, float32; d is at most N and D. Signs are chosen so that the largest entry of
    each basis vector is positive: the same features give the same map. Wide features, as VGG's 25,088, are reduced by
    random projections (Halko et al., 2011) with a fixed seed: their covariance alone would take 5 GB, and hours.

    >>> components, mean, basis = reduce(np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 0.0]]), 1)
    >>> components.ravel().tolist(), mean.tolist(), basis.ravel().tolist()
    ([-2.0, 0.0, 2.0], [3.0, 0.0], [1.0, 0.0])
    """
    from sklearn.decomposition import PCA

    wide = features.shape[1] > WIDE
    features = np.asarray(features, dtype=np.float32 if wide else np.float64)
    solver = "randomized" if wide or len(features) == 1 else "covariance_eigh"
    found = PCA(min(d, *features.shape), svd_solver=solver, random_state=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # the variance of a single photo, which nobody reads
        components = found.fit_transform(features)
    return tuple(np.asarray(part, dtype=np.float32) for part in (components, found.mean_, found.components_.T))


def project(features: np.ndarray, mean: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """New photos' features (n, D) among the components that `reduce` made: (n, d) float32."""
    return (np.asarray(features, dtype=np.float32) - mean) @ basis


def project_tsne(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """t-SNE of features (N, d) by the angle between them: (N, 2) float32. Neighbours stay neighbours; distances
    between groups and the size of a group mean nothing. Fewer than 4 photos: their first two columns; all photos in
    one direction, as a run sees them that learnt nothing: all in one place."""
    if len(features) < 4:
        return np.asarray(features[:, :2], dtype=np.float32)
    units = _units(features)
    if not np.ptp(units, axis=0).any():  # scikit-learn would divide by 0, and then crash
        return np.zeros((len(units), 2), dtype=np.float32)
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(units)
    return places.astype(np.float32)


def breed_similarity(features: np.ndarray, true: np.ndarray, n: int) -> np.ndarray:
    """Mean cosine between photos of breed i and of breed j, (n, n); for i = j between two different photos of it.

    features: (N, d).   true: (N,) breed of each photo, in 0..n-1.   nan for a breed without photos, and on the
    diagonal for a breed with one.

    >>> breed_similarity(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]), np.array([0, 0, 1]), 2).tolist()
    [[1.0, 0.0], [0.0, nan]]
    """
    units = _units(features)
    support = np.bincount(true, minlength=n)
    sums = np.zeros((n, units.shape[1]))
    np.add.at(sums, true, units)
    totals, pairs = sums @ sums.T, np.outer(support, support)
    own = np.bincount(true, weights=np.einsum("ij,ij->i", units, units), minlength=n)  # of each photo with itself
    np.fill_diagonal(totals, totals.diagonal() - own)
    np.fill_diagonal(pairs, support * (support - 1))
    return np.divide(totals, pairs, out=np.full((n, n), np.nan), where=pairs > 0)


def typical(features: np.ndarray, true: np.ndarray, breed: int, k: int) -> np.ndarray:
    """The up to `k` photos of `breed` nearest to the mean of its photos, nearest first: indices into features."""
    of_breed = np.flatnonzero(np.asarray(true) == breed)
    if not len(of_breed):
        return of_breed
    units = _units(features[of_breed])
    return of_breed[np.argsort(-(units @ units.mean(axis=0)), kind="stable")[:k]]


def nearest(features: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The `k` rows of features (N, d) nearest to each of queries (q, d), nearest first: indices (q, min(k, N))."""
    alike = _units(queries) @ _units(features).T  # (q, N)
    return np.argsort(-alike, axis=1, kind="stable")[:, :k]


def neighbour_alike(features: np.ndarray, true: np.ndarray, *, block: int = 1024) -> np.ndarray:
    """(N,) bool: whether the other photo nearest to each photo is of the same breed; of a single photo: False."""
    if len(features) < 2:
        return np.zeros(len(features), dtype=bool)
    units, alike = _units(features), np.empty(len(features), dtype=bool)
    for start in range(0, len(units), block):
        cosines = units[start : start + block] @ units.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -np.inf
        alike[start : start + block] = true[cosines.argmax(axis=1)] == true[start : start + block]
    return alike


def _units(features: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay zeros."""
    features = np.asarray(features, dtype=np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)
