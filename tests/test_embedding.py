"""Features, worked out by loops and by scikit-learn; what `embed` stores is what a new photo is placed among."""

import io

import numpy as np
import pytest
from safetensors.numpy import save, save_file
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics.pairwise import cosine_similarity

from dogpoc import artifacts, dataset, embedding, inference, training
from dogpoc.artifacts import ArtifactError
from dogpoc.photo import read_photo

TRUE = np.array([0, 0, 0, 1, 1, 2, 4])  # breed 2 and 4 have one photo, breed 3 has none


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(TRUE), 5)).astype(np.float32)


def clusters(per_cluster: int = 30, n: int = 4, width: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Photos in well separated groups: features and the group of each."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(n, width)) * 5
    groups = np.repeat(np.arange(n), per_cluster)
    return centres[groups] + rng.normal(size=(len(groups), width)), groups


def test_components_are_those_of_scikit_learn_up_to_signs():
    features, _groups = clusters()
    components, mean, basis = embedding.reduce(features, 6)
    oracle = PCA(6, svd_solver="full").fit(features)
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(np.abs(basis), np.abs(oracle.components_.T), atol=1e-5)
    np.testing.assert_allclose(np.abs(components), np.abs(oracle.transform(features)), atol=1e-4)


def test_the_same_features_give_the_same_signs():
    features, _groups = clusters()
    basis = embedding.reduce(features)[2]
    np.testing.assert_array_equal(basis, embedding.reduce(features)[2])
    assert (basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])] > 0).all()


@pytest.mark.parametrize(("photos", "width", "d"), [(3, 40, 3), (300, 200, 128), (1, 6, 1), (5, 25_088, 5)])
def test_few_photos_or_a_narrow_network_give_fewer_columns_and_no_nan(photos, width, d):
    features = np.random.default_rng(0).normal(size=(photos, width))
    components, mean, basis = embedding.reduce(features)
    assert (components.shape, mean.shape, basis.shape) == ((photos, d), (width,), (width, d))
    assert np.isfinite(components).all()
    np.testing.assert_allclose(components[:, photos - 1 :], 0, atol=1e-4)  # n photos span n - 1 directions


def test_wide_features_keep_as_much_variance_as_the_best_components():
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(60, 20)) @ rng.normal(size=(20, 3 * embedding.WIDE))).astype(np.float32)
    best = PCA(8, svd_solver="full").fit(features)
    components, _mean, basis = embedding.reduce(features, 8)
    np.testing.assert_allclose(basis.T @ basis, np.eye(8), atol=1e-4)
    np.testing.assert_allclose(components.var(axis=0, ddof=1), best.explained_variance_, rtol=0.01)
    np.testing.assert_array_equal(components, embedding.reduce(features, 8)[0])


def test_a_photo_that_was_reduced_is_projected_to_its_own_place():
    features, _groups = clusters()
    components, mean, basis = embedding.reduce(features, 7)
    np.testing.assert_allclose(embedding.project(features[3:5], mean, basis), components[3:5], atol=1e-4)


def test_the_similarity_of_breeds_is_the_mean_over_pairs_of_different_photos(features):
    found = embedding.breed_similarity(features, TRUE, 5)
    cosines = cosine_similarity(features)
    for i in range(5):
        for j in range(5):
            pairs = [cosines[a, b] for a in range(7) for b in range(7) if a != b and TRUE[a] == i and TRUE[b] == j]
            np.testing.assert_allclose(found[i, j], np.mean(pairs) if pairs else np.nan, atol=1e-6)


def test_a_breed_without_photos_is_like_nothing_and_one_with_a_single_photo_not_like_itself(features):
    found = embedding.breed_similarity(features, TRUE, 5)
    assert np.isnan(found[3]).all()
    assert np.isnan(found[:, 3]).all()
    assert np.isnan(found[[2, 4], [2, 4]]).all()
    assert np.isfinite(found[2, 4])


def test_typical_photos_are_those_nearest_to_the_mean_of_their_breed():
    angles = np.radians([0, 40, 20, 170, 90])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [7], [3], [1], [1]]
    true = np.array([1, 1, 1, 0, 1])  # the mean direction of breed 1 is 36.5 degrees
    assert embedding.typical(features, true, 1, 3).tolist() == [1, 2, 0]
    assert embedding.typical(features, true, 0, 3).tolist() == [3]
    assert embedding.typical(features, true, 2, 3).tolist() == []


def test_the_nearest_photos_are_those_of_a_loop(features):
    queries = np.random.default_rng(2).normal(size=(3, 5))
    expected = [sorted(range(7), key=lambda k: -cosine_similarity(q[None], features)[0, k])[:4] for q in queries]
    assert embedding.nearest(features, queries, 4).tolist() == expected
    assert embedding.nearest(features, queries, 99).shape == (3, 7)


def test_the_nearest_other_photo_is_of_the_same_breed_or_not_as_in_a_loop(features):
    cosines = cosine_similarity(features) - 9 * np.eye(7)
    expected = [bool(TRUE[cosines[k].argmax()] == TRUE[k]) for k in range(7)]
    assert embedding.neighbour_alike(features, TRUE, block=3).tolist() == expected
    assert set(expected) == {True, False}
    assert embedding.neighbour_alike(features[:1], TRUE[:1]).tolist() == [False]
    opposite = np.array([[1.0, 0.0], [-1.0, 0.1], [-1.0, -0.1]])
    assert embedding.neighbour_alike(opposite, np.array([0, 1, 1])).tolist() == [False, True, True]


def test_photos_without_any_feature_are_like_nothing():
    features = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(embedding.breed_similarity(features, np.array([0, 1, 1]), 2), [[np.nan, 0], [0, 1]])


def test_the_map_keeps_neighbours_and_is_the_same_again():
    features, _groups = clusters()
    places = embedding.project_tsne(features, seed=0)
    assert places.shape == (len(features), 2)
    assert trustworthiness(features, places, metric="cosine") > 0.9
    np.testing.assert_array_equal(places, embedding.project_tsne(features, seed=0))


@pytest.mark.parametrize("photos", [1, 3, 4, 6])
def test_a_few_photos_have_a_map_too(photos):
    places = embedding.project_tsne(np.random.default_rng(0).normal(size=(photos, 4)))
    assert places.shape == (photos, 2)
    assert np.isfinite(places).all()


@pytest.mark.parametrize("direction", [np.zeros(4), np.ones(4)])
def test_photos_that_are_all_the_same_to_a_run_lie_in_one_place(direction):
    """A network that collapsed in training gives such features; scikit-learn's t-SNE ends the process on them."""
    np.testing.assert_array_equal(embedding.project_tsne(np.tile(direction, (40, 1))), np.zeros((40, 2)))


# -- stored -------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(dogs) -> dict:
    """A run on "dogs" that no model made: only what concerns its features, 4 numbers of each photo."""
    dataset.split("dogs")
    digest = artifacts.read_dataset("dogs")["digest"]
    info = {"dataset": "dogs", "run": "cnn", "trained_on": "dogs", "photos_digest": digest}
    info["embedding"] = {"photos_digest": digest, "dimensions": 4}
    files = {}
    for name, columns in (("features.npy", 4), ("map.npy", 2)):
        file = io.BytesIO()
        np.save(file, np.arange(24 * columns).reshape(24, columns).astype(np.float16))
        files[name] = file.getvalue()
    files["projection.safetensors"] = save({"mean": np.ones(6, np.float16), "basis": np.ones((6, 4), np.float16)})
    return artifacts.write_run(info, files)


@pytest.fixture
def embedded(dogs, workplace, write_photos, tiny_methods) -> dict:
    """A run on "dogs", evaluated, with its features; "elsewhere" shares one of its breeds."""
    write_photos(workplace / "data" / "elsewhere", {"pug": 4, "akita": 5}, seed=9)
    dataset.split("dogs")
    training.train(tiny_methods["cnn-frozen"], "dogs", name="cnn", command="python -m dogpoc train cnn-frozen")
    inference.evaluate("cnn", "dogs", command="python -m dogpoc evaluate cnn --data dogs")
    return embed()


def embed(run: str = "cnn", name: str = "dogs") -> dict:
    return inference.embed(run, name, command=f"python -m dogpoc embed {run} --data {name}")


def problems() -> list[str]:
    return [problem for _what, problem in artifacts.verify() if problem]


def test_every_photo_has_features_in_table_order_and_a_new_photo_is_placed_among_them(embedded):
    table = artifacts.read_photos("dogs")
    features, places = artifacts.read_features(embedded), artifacts.read_map(embedded)
    assert len(features) == len(places) == len(table) == 24
    assert places.shape[1] == 2
    paths = dataset.require_photos(table)
    classifier = inference.load_classifier("dogs", "cnn")
    pixels = [inference.preprocess(read_photo(path.read_bytes()), classifier.preprocessing) for path in paths]
    placed = embedding.project(classifier.forward(np.stack(pixels))[1], *artifacts.read_projection(embedded))
    np.testing.assert_allclose(placed, features, atol=0.02 * np.abs(features).max())  # both are float16
    assert embedding.nearest(features, placed, 1).ravel().tolist() == list(range(24))
    assert embedded["embedding"]["kept_variance"] == pytest.approx(1, abs=1e-3)  # 24 photos span 23 directions
    assert problems() == []


def test_the_rows_of_an_evaluation_are_found_in_the_features(embedded):
    evaluation = artifacts.read_evaluation("dogs", "cnn")
    rows = artifacts.table_rows(evaluation)
    assert artifacts.read_photos("dogs")["id"].iloc[rows].tolist() == evaluation.photos["id"].tolist()


def test_features_that_are_there_are_not_made_again(embedded, monkeypatch):
    monkeypatch.setattr(inference, "load_classifier", lambda *_: pytest.fail("the model was loaded"))
    assert embed() == embedded


def test_damaged_features_are_noticed_and_made_again(embedded):
    path = artifacts.run_folder("dogs", "cnn") / "features.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\x7f")
    with pytest.raises(ArtifactError, match=r"features\.npy is damaged.*python -m dogpoc embed cnn --data dogs"):
        artifacts.read_features(embedded)
    assert len(problems()) == 1
    embed()
    assert path.read_bytes() == whole
    assert problems() == []


def test_what_was_stored_is_read(recorded):
    assert artifacts.read_features(recorded)[1].tolist() == [4, 5, 6, 7]
    assert artifacts.read_map(recorded)[1].tolist() == [2, 3]
    assert [part.shape for part in artifacts.read_projection(recorded)] == [(6,), (6, 4)]
    assert problems() == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("features.npy", np.zeros((24, 3), np.float16)),
        ("features.npy", np.zeros((24, 4), np.float32)),
        ("map.npy", np.full((24, 2), np.nan, np.float16)),
        ("map.npy", np.array([{"a": 1}], dtype=object)),
    ],
)
def test_features_of_another_shape_type_or_with_nan_are_refused(recorded, name, content):
    file = artifacts.run_folder("dogs", "cnn") / ".other.npy"
    np.save(file, content, allow_pickle=True)
    info = artifacts.write_run(recorded, {name: file})
    with pytest.raises(ArtifactError, match=rf"{name}.*Run: python -m dogpoc embed cnn --data dogs"):
        (artifacts.read_features if name == "features.npy" else artifacts.read_map)(info)
    assert len(problems()) == 1


@pytest.mark.parametrize(
    "parts",
    [
        {"mean": np.zeros(6, np.float16)},
        {"mean": np.zeros(6, np.float16), "basis": np.zeros((5, 4), np.float16)},
        {"mean": np.zeros(6, np.float16), "basis": np.zeros((6, 4), np.float32)},
        {"mean": np.float16(0), "basis": np.zeros((6, 4), np.float16)},
        {"mean": np.zeros(6, np.float16), "basis": np.float16(0)},
        None,
    ],
)
def test_a_projection_that_does_not_fit_is_refused(recorded, parts):
    file = artifacts.run_folder("dogs", "cnn") / ".other.safetensors"
    if parts is None:
        file.write_bytes(b"nonsense")
    else:
        save_file({key: np.asarray(value) for key, value in parts.items()}, file)
    info = artifacts.write_run(recorded, {"projection.safetensors": file})
    with pytest.raises(ArtifactError, match=r"projection\.safetensors.*Run: python -m dogpoc embed cnn --data dogs"):
        artifacts.read_projection(info)


def test_where_weights_are_too_large_to_ship_the_projection_does_not_ship_either(embedded, monkeypatch):
    path = artifacts.run_folder("dogs", "cnn") / artifacts.PROJECTION
    path.unlink()
    with pytest.raises(ArtifactError, match=r"projection\.safetensors is missing"):
        artifacts.read_projection(embedded)
    monkeypatch.setattr(artifacts, "SHIPPED_BYTES", 100)
    assert artifacts.read_projection(embedded) is None
    assert not problems()
    assert artifacts.read_features(embedded) is not None
    path.write_bytes(b"another projection")
    assert any("is damaged" in problem for problem in problems())


def test_another_photo_list_has_no_features_until_they_are_made(embedded):
    dataset.split("dogs", seed=1, overwrite=True)
    info = artifacts.read_run("dogs", "cnn")
    assert [read(info) for read in artifacts.EMBEDDING_READERS] == [None] * 3
    assert artifacts.read_features(embed()).shape[0] == 24


def test_an_evaluation_keeps_the_features_and_a_training_drops_them(embedded, tiny_methods):
    info = inference.evaluate("cnn", "dogs", command="python -m dogpoc evaluate cnn --data dogs")
    np.testing.assert_array_equal(artifacts.read_features(info), artifacts.read_features(embedded))
    info = training.train(tiny_methods["cnn-frozen"], "dogs", name="cnn", command="again", force=True)
    assert artifacts.read_features(info) is None


def test_a_run_has_features_of_a_dataset_that_it_was_not_trained_on(embedded):
    dataset.split("elsewhere", holdout=True)
    with pytest.raises(ArtifactError, match="Run: python -m dogpoc evaluate cnn --data elsewhere"):
        embed("cnn", "elsewhere")
    info = inference.evaluate("cnn", "elsewhere", command="python -m dogpoc evaluate cnn --data elsewhere")
    assert "embedding" not in info
    assert artifacts.read_features(info) is None
    assert artifacts.read_features(embed("cnn", "elsewhere")).shape[0] == 9  # akitas too
    assert problems() == []
