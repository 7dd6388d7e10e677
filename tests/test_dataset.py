import json
import math
import shutil
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from scipy.io import savemat

from dogpoc import artifacts, dataset
from dogpoc.dataset import DatasetError

PUG = "n02110958-pug"


def refusal(call, *args, **kwargs) -> str:
    """The one line with which a call is refused."""
    with pytest.raises(DatasetError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- folders and breeds -------------------------------------------------------------------------------------------


def test_datasets_are_found_by_name_and_by_path_and_a_folder_can_be_one_itself(dogs, workplace, monkeypatch):
    assert dataset.find_dataset("dogs") == dogs
    assert dataset.find_dataset(dogs) == dogs
    monkeypatch.setenv("DOGPOC_DATA", str(dogs))
    assert dataset.find_dataset("dogs") == dogs
    monkeypatch.chdir(workplace / "data")
    assert dataset.find_dataset("./dogs") == dogs
    monkeypatch.chdir(dogs / "Images")
    assert dataset.find_dataset("..") == dogs


def test_several_data_folders_are_searched_in_order_and_missing_ones_left_out(workplace, write_photos, monkeypatch):
    first, second = (write_photos(workplace / place / "dogs", {"pug": 1}) for place in ("a", "b"))
    monkeypatch.setenv("DOGPOC_DATA", ":".join(str(workplace / place) for place in ("none", "b", "a")))
    monkeypatch.setattr(dataset.os, "pathsep", ":")
    assert dataset.data_folders() == [second.parent, first.parent]
    assert dataset.find_dataset("dogs") == second


def test_an_unknown_dataset_is_refused_with_those_that_exist_and_the_way_out(dogs, workplace):
    (workplace / "data" / "empty").mkdir()
    line = refusal(dataset.find_dataset, "cats")
    assert "no dataset 'cats'" in line
    assert "found: dogs." in line
    assert "python -m dogpoc download stanford-dogs" in line


@pytest.mark.parametrize("layout", ["Images", "images/Images", "."])
def test_breeds_are_read_from_stanfords_layout_and_from_any_folder_per_class(dogs, workplace, layout):
    folder = workplace / "moved"
    shutil.copytree(dogs / "Images", folder / layout)
    table, report = dataset.make_table(folder)
    assert sorted(set(table["breed"])) == ["Afghan_hound", "beagle", "pug"]
    assert table["id"].iloc[0] == "n02088094-Afghan_hound/n02088094_1.jpg"
    assert report.skipped == []


def test_a_table_says_of_each_photo_what_its_file_holds(dogs):
    photo = Image.new("RGB", (60, 40))
    photo.paste("red", (0, 0, 30, 40))
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    path = dogs / "Images" / PUG / "turned.jpg"
    photo.save(path, exif=turned)
    Image.effect_noise((2200, 2100), 90).save(dogs / "Images" / PUG / "large.png", compress_level=1)
    table = dataset.make_table(dogs)[0].set_index("id")
    row = table.loc[f"{PUG}/turned.jpg"]
    assert (row["width"], row["height"], row["bytes"]) == (40, 60, path.stat().st_size)
    assert row["sha256"] == artifacts.sha256_of(path)
    large = table.loc[f"{PUG}/large.png"]
    assert (large["width"], large["height"]) == (2200, 2100)  # though it is read at half that size
    assert table.index.is_monotonic_increasing


def test_what_is_no_photo_is_left_aside_and_counted(dogs, workplace):
    images = dogs / "Images"
    (images / PUG / ".hidden.jpg").write_bytes(b"")
    (images / PUG / "Thumbs.db").write_bytes(b"")
    (images / PUG / "folder.jpg").mkdir()
    (images / "empty").mkdir()
    (workplace / "secret.jpg").write_bytes((images / PUG / "n02110958_1.jpg").read_bytes())
    (images / PUG / "link.jpg").symlink_to(workplace / "secret.jpg")
    table, report = dataset.make_table(dogs)
    assert len(table) == 24
    assert report.skipped == ["empty", f"{PUG}/Thumbs.db", f"{PUG}/folder.jpg", f"{PUG}/link.jpg"]
    assert "not photos, left aside: 4" in str(report)
    assert report.unreadable == {}


def test_a_file_name_that_is_no_text_is_left_aside(dogs):
    name = b"\xff.jpg".decode(errors="surrogateescape")
    try:
        shutil.copy(dogs / "Images" / PUG / "n02110958_1.jpg", dogs / "Images" / PUG / name)
    except OSError:
        pytest.skip("this file system allows no such names")
    table, report = dataset.make_table(dogs)
    assert len(table) == 24
    assert len(report.skipped) == 1
    str(report).encode()


def test_unreadable_photos_are_left_out_by_name_and_the_others_stay(dogs):
    whole = (dogs / "Images" / PUG / "n02110958_2.jpg").read_bytes()
    (dogs / "Images" / PUG / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (dogs / "Images" / PUG / "text.jpg").write_text("not a photo")
    table, report = dataset.make_table(dogs)
    assert len(table) == 24
    assert list(report.unreadable) == [f"{PUG}/cut.jpg", f"{PUG}/text.jpg"]
    assert "unreadable, left out: 2" in str(report)
    assert f"  {PUG}/cut.jpg: the photo is damaged or incomplete" in str(report)


def test_a_missing_or_empty_folder_is_refused(workplace):
    (workplace / "data" / "empty").mkdir()
    assert "no photos in" in refusal(dataset.split, "empty")
    assert "cannot be read" in refusal(dataset.make_table, workplace / "gone")
    assert artifacts.datasets() == []


def test_one_breed_is_refused_and_a_holdout_may_have_one(dogs):
    assert "one breed only, 'pug'; expected at least 2" in refusal(dataset.make_table, dogs, breeds="pug")
    assert set(dataset.make_table(dogs, breeds="pug", holdout=True)[0]["split"]) == {"test"}


def test_a_breed_of_three_photos_is_refused_by_name_and_one_of_four_is_split(workplace, write_photos):
    few = write_photos(workplace / "few", {"pug": 3, "beagle": 8, "boxer": 2})
    line = refusal(dataset.make_table, few)
    assert "too few photos to split: boxer 2, pug 3" in line
    assert "expected at least 4 a breed" in line
    assert "--breeds" in line
    assert len(dataset.make_table(few, holdout=True)[0]) == 13
    table, _report = dataset.make_table(write_photos(workplace / "enough", {"pug": 4, "beagle": 5}))
    counts = pd.crosstab(table["breed"], table["split"])
    assert counts.loc["pug"].to_dict() == {"train": 2, "validation": 1, "test": 1}
    assert counts.loc["beagle"].to_dict() == {"train": 3, "validation": 1, "test": 1}


def test_four_copies_of_one_photo_are_too_few(workplace, write_photos):
    folder = write_photos(workplace / "dogs", {"pug": 4, "beagle": 8})
    for n in (2, 3, 4):
        shutil.copy(folder / "Images/pug/pug_1.jpg", folder / f"Images/pug/pug_{n}.jpg")
    assert "pug 1 (readable ones, near-duplicates counted once)" in refusal(dataset.make_table, folder)


def test_a_breed_without_a_readable_photo_is_named(dogs):
    for path in (dogs / "Images" / PUG).iterdir():
        path.write_bytes(b"")
    assert "too few photos to split: pug 0" in refusal(dataset.make_table, dogs)
    assert "none of the 8 photos" in refusal(dataset.make_table, dogs, breeds="pug", holdout=True)


@pytest.mark.parametrize("twin", ["n00000001-pug", "Pug"])
def test_two_folders_of_one_breed_are_refused(dogs, twin):
    if (dogs / "Images" / twin).exists():
        pytest.skip("this file system does not tell the two names apart")
    shutil.copytree(dogs / "Images" / PUG, dogs / "Images" / twin)
    assert "two folders" in refusal(dataset.make_table, dogs)


COUNTS = {"soft-coated_wheaten_terrier": 150, "beagle": 150, "pug": 200, "Siberian_husky": 152}


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("Siberian husky, PUG", ["Siberian_husky", "pug"]),
        (["soft coated wheaten terrier"], ["soft-coated_wheaten_terrier"]),
        ("n02110958-pug", ["pug"]),
        ("1", ["pug"]),
        ("3", ["Siberian_husky", "beagle", "pug"]),  # by photos; of the two with 150, the first by name
        ("=150", ["beagle", "soft-coated_wheaten_terrier"]),
        ("=151-200", ["Siberian_husky", "pug"]),
    ],
)
def test_breeds_are_chosen_by_names_by_a_number_or_by_their_photos(wanted, chosen):
    assert dataset.select_breeds(COUNTS, wanted) == chosen


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("begle", "no breed 'begle' in the dataset; close: beagle; 4 breeds in all"),
        ("", "no breed ''"),
        ("pug,", "no breed ''"),
        ("5", "5 breeds asked for; found: 4"),
        ("0", "0 breeds asked for"),
        ("=7", "no breed has 7 photos; found: 150 to 200"),
    ],
)
def test_a_choice_that_cannot_be_met_is_refused_with_what_there_is(wanted, line):
    assert line in refusal(dataset.select_breeds, COUNTS, wanted)


# -- near-duplicates ----------------------------------------------------------------------------------------------


def slow_groups(hashes: list[int], mirrored: list[int]) -> list[set[int]]:
    """The groups by their definition: merge near pairs until nothing changes."""
    groups = [{i} for i in range(len(hashes))]

    def bits(a: int, b: int) -> int:
        return (a ^ b).bit_count()

    for i in range(len(hashes)):
        for j in range(i):
            both = bits(hashes[i], mirrored[j]) <= dataset.NEAR and bits(mirrored[i], hashes[j]) <= dataset.NEAR
            if bits(hashes[i], hashes[j]) <= dataset.NEAR or both:
                joined = next(g for g in groups if i in g) | next(g for g in groups if j in g)
                groups = [g for g in groups if not g & joined] + [joined]
    return sorted(groups, key=min)


def test_groups_are_chains_of_near_hashes_whatever_the_block(monkeypatch):
    rng = np.random.default_rng(1)
    centres = [int(n) for n in rng.integers(0, 2**63, 12, dtype=np.uint64)]
    noise = [sum(1 << int(bit) for bit in rng.choice(64, 5, replace=False)) for _ in range(60)]
    hashes = [centres[i % 12] ^ bits for i, bits in enumerate(noise)]
    mirrored = [hashes[(i * 7) % 60] ^ (bits if i % 3 else 0xFFFF) for i, bits in enumerate(noise)]
    expected = slow_groups(hashes, mirrored)
    assert 3 < len(expected) < 30
    for block in (1, 7, 256):
        found = dataset.near_duplicate_groups(np.array(hashes, np.uint64), np.array(mirrored, np.uint64), block=block)
        assert found.dtype == np.int64
        assert [set(np.flatnonzero(found == n)) for n in range(found.max() + 1)] == expected


def test_copies_and_photos_resaved_resized_or_mirrored_share_a_group_and_others_do_not(dogs):
    original = dogs / "Images" / PUG / "n02110958_1.jpg"
    photo = Image.open(original)
    shutil.copy(original, original.with_name("copy.jpg"))
    photo.resize((200, 150)).save(original.with_name("larger.png"))
    photo.save(original.with_name("worse.jpg"), quality=30)
    ImageOps.mirror(photo).save(original.with_name("mirrored.jpg"))
    table, report = dataset.make_table(dogs)
    group = table.loc[table["id"] == f"{PUG}/{original.name}", "group"].item()
    same = table[table["group"] == group]
    names = ["copy.jpg", "larger.png", "mirrored.jpg", "n02110958_1.jpg", "worse.jpg"]
    assert [Path(photo).name for photo in same["id"]] == names
    assert len(set(same["split"])) == 1
    assert table["group"].nunique() == 24
    assert (report.exact, report.near, report.mixed) == ((1, 2), (1, 5), 0)


def test_a_photo_under_two_breeds_is_counted_and_kept_on_one_side(dogs):
    shutil.copy(dogs / "Images" / PUG / "n02110958_1.jpg", dogs / "Images" / "n02088364-beagle" / "stray.jpg")
    table, report = dataset.make_table(dogs)
    twins = table[table["sha256"].duplicated(keep=False)]
    assert set(twins["breed"]) == {"beagle", "pug"}
    assert len(set(twins["split"])) == len(set(twins["group"])) == 1
    assert report.mixed == 1
    assert "groups that span several breeds: 1" in str(report)


def test_twenty_thousand_photos_are_grouped_in_modest_memory():
    hashes, mirrored = np.random.default_rng(0).integers(0, 2**64, (2, 20_000), dtype=np.uint64)
    hashes[15_000:], mirrored[15_000:] = hashes[0], mirrored[0]  # 5,000 blank photos among them
    tracemalloc.start()
    groups = dataset.near_duplicate_groups(hashes, mirrored)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.bincount(groups).max() == 5_001
    assert peak < 150e6  # a matrix of all pairs would have 400e6 entries


# -- splits -------------------------------------------------------------------------------------------------------


def test_a_quarter_is_test_and_a_quarter_of_the_rest_validation_in_every_breed(workplace, write_photos):
    table, report = dataset.make_table(write_photos(workplace / "dogs", {"pug": 16, "beagle": 32}))
    counts = pd.crosstab(table["breed"], table["split"])
    assert counts.loc["pug"].to_dict() == {"train": 9, "validation": 3, "test": 4}
    assert counts.loc["beagle"].to_dict() == {"train": 18, "validation": 6, "test": 8}
    assert report.photos == {"train": 27, "validation": 9, "test": 12}


def test_the_same_seed_gives_the_same_table_whatever_the_files_names_and_another_seed_another(dogs, workplace):
    first, again, other = (dataset.make_table(dogs, seed=seed)[0] for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert (first["split"] != other["split"]).any()
    assert list(first["split"].value_counts()) == list(other["split"].value_counts())
    renamed = workplace / "renamed"
    for n, path in enumerate(sorted((dogs / "Images").rglob("*.jpg"), reverse=True)):
        (renamed / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, renamed / path.parent.name / f"{n}.jpg")
    moved = dataset.make_table(renamed)[0]
    assert dict(zip(moved["sha256"], moved["split"], strict=True)) == dict(
        zip(first["sha256"], first["split"], strict=True)
    )


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (10, 1, 1, 1), (10, 10, 1, 1), (9, 9, 9, 1), (5, 4, 3, 2), (40, 2, 1, 1)]
)
def test_four_groups_of_any_size_always_fill_the_three_splits(sizes):
    groups = np.repeat(np.arange(4), sizes)
    table = pd.DataFrame({"group": groups, "breed": "pug"})
    table["id"] = table["sha256"] = [f"{n:03}" for n in range(len(table))]
    for seed in range(5):
        table["split"] = dataset._allot(table, dataset.SHARES, seed)
        assert set(table["split"]) == set(artifacts.SPLITS)
        assert table.drop_duplicates(["group", "split"])["group"].is_unique


def write_lists(folder: Path, **lists: list[str]) -> None:
    """Stanford's train_list.mat and test_list.mat: a column of cells under "file_list"."""
    folder.mkdir(exist_ok=True)
    for split, photos in lists.items():
        cells = np.array([[photo] for photo in photos], dtype=object)
        savemat(folder / f"{split}_list.mat", {"file_list": cells, "labels": np.ones((len(photos), 1))})


@pytest.mark.parametrize("place", [".", "lists"])
def test_the_official_lists_decide_what_is_test_and_a_quarter_of_train_becomes_validation(dogs, place):
    photos = sorted(path.relative_to(dogs / "Images").as_posix() for path in (dogs / "Images").rglob("*.jpg"))
    test = [photo for photo in photos if photo[-5] in "12"]
    train = [photo for photo in photos if photo[-5] in "34567"]
    write_lists(dogs / place, train=train, test=test)
    twin = dogs / "Images" / train[0]
    shutil.copy(dogs / "Images" / test[0], twin)  # a train photo that is also a test photo
    table, report = dataset.make_table(dogs)
    assert list(table.loc[table["split"] == "test", "id"]) == test
    assert report.photos == {"train": 11, "validation": 3, "test": 6}
    assert train[0] not in set(table["id"])
    assert (report.official, report.unlisted, report.dropped) == (True, 3, 1)
    assert "train photos too like a test photo, left out: 1" in str(report)
    assert "on none of the lists, left out: 3" in str(report)


def test_a_breed_that_is_on_one_of_the_lists_only_is_refused_by_name(dogs):
    photos = sorted(path.relative_to(dogs / "Images").as_posix() for path in (dogs / "Images").rglob("*.jpg"))
    tested = [photo for photo in photos if photo[-5] == "1" and PUG not in photo]
    write_lists(dogs, train=sorted(set(photos) - set(tested)), test=tested)
    assert "pug 8 (readable ones" in refusal(dataset.make_table, dogs)


def test_lists_that_are_damaged_or_of_another_dataset_are_refused(dogs):
    write_lists(dogs, train=["x/1.jpg"], test=["x/2.jpg"])
    assert "lists name none of its photos" in refusal(dataset.make_table, dogs)
    (dogs / "test_list.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    assert "test_list.mat is not a list of photos" in refusal(dataset.make_table, dogs)
    savemat(dogs / "test_list.mat", {"labels": np.ones((3, 1))})
    assert "test_list.mat is not a list of photos" in refusal(dataset.make_table, dogs)
    assert len(dataset.make_table(dogs, holdout=True)[0]) == 24  # needs no lists


# -- the stored table ---------------------------------------------------------------------------------------------


def test_a_split_is_stored_and_says_what_it_did(dogs):
    report = dataset.split("dogs")
    table = artifacts.read_photos("dogs")
    assert list(table.columns) == list(artifacts.PHOTO_COLUMNS)
    assert len(table) == 24
    about = artifacts.read_dataset("dogs")
    assert (about["seed"], about["holdout"], about["report"]["photos"]) == (0, False, report.photos)
    assert str(report).splitlines() == [
        "24 photos, breeds: 3; train 15 (62.5\u00a0%), validation 3 (12.5\u00a0%), test 6 (25.0\u00a0%)",
        "groups of identical files: 0, with 0 photos",
        "groups of near-duplicates, those included: 0, with 0 photos",
        "groups that span several breeds: 0 (kept together; no group crosses splits)",
        "unreadable, left out: 0",
        "not photos, left aside: 0",
        str(artifacts.root() / "dogs" / "photos.parquet"),
    ]


def test_a_part_of_the_breeds_gets_a_name_of_its_own(dogs):
    assert "breeds: 2 of 3" in str(dataset.split("dogs", breeds="pug,beagle"))
    dataset.split("dogs", breeds="3")
    dataset.split("dogs", breeds="pug,beagle", name="small")
    assert artifacts.datasets() == ["dogs", "dogs-2", "small"]


def test_a_breed_whose_photos_are_all_unreadable_does_not_make_a_holdout_a_part(dogs):
    for path in (dogs / "Images" / PUG).iterdir():
        path.write_bytes(b"")
    assert "breeds: 2 of 3" in str(dataset.split("dogs", holdout=True))
    assert artifacts.datasets() == ["dogs"]


def test_a_table_that_runs_were_made_on_is_not_overwritten_unless_asked_for(dogs):
    dataset.split("dogs")
    old = artifacts.read_photos("dogs")
    artifacts.write_run({"dataset": "dogs", "run": "tiny", "photos_digest": artifacts.photos_digest(old)}, {})
    dataset.split("dogs")  # the same table again
    line = refusal(dataset.split, "dogs", seed=1)
    assert "runs on other splits than these: tiny" in line
    assert "--force" in line
    pd.testing.assert_frame_equal(artifacts.read_photos("dogs"), old)
    (artifacts.run_folder("dogs", "tiny") / "run.json").write_bytes(b"damaged")  # and perhaps to be restored
    assert "tiny" in refusal(dataset.split, "dogs", seed=1)
    dataset.split("dogs", seed=1, overwrite=True)
    assert (artifacts.read_photos("dogs")["split"] != old["split"]).any()


def test_a_damaged_table_is_made_again_under_its_runs(dogs):
    path = dataset.split("dogs").path
    old = path.read_bytes()
    table = artifacts.read_photos("dogs")
    artifacts.write_run({"dataset": "dogs", "run": "tiny", "photos_digest": artifacts.photos_digest(table)}, {})
    path.write_bytes(b"damaged")
    dataset.split("dogs")
    assert path.read_bytes() == old


# -- boxes --------------------------------------------------------------------------------------------------------

BOX = "<object><name>pug</name><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"


def test_boxes_are_read_from_the_annotation_of_a_photo(dogs):
    place = dogs / "Annotation" / PUG
    place.mkdir(parents=True)
    (place / "n02110958_1").write_text(f"<annotation>{BOX.format(1)}{BOX.format(3)}{BOX.format(30)}</annotation>")
    assert dataset.boxes(dogs, f"{PUG}/n02110958_1.jpg") == [(1, 2, 30, 40), (3, 2, 30, 40)]
    assert dataset.boxes(dogs, f"{PUG}/n02110958_2.jpg") == []
    (place / "n02110958_1").rename(dogs / "elsewhere")
    assert dataset.boxes(dogs, "../elsewhere.jpg") == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<annotation>",
        f"<annotation>{BOX.format('x')}</annotation>",
        "<annotation><object><bndbox/></object></annotation>",
        '<!DOCTYPE a [<!ENTITY b "1">]><annotation>' + BOX.format("&b;") + "</annotation>",
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "<annotation>" + " " * 100_000 + "</annotation>",
    ],
)
def test_a_damaged_or_hostile_annotation_is_refused(dogs, content):
    place = dogs / "Annotation" / PUG
    place.mkdir(parents=True)
    for encoding in ("utf-8", "utf-16"):
        (place / "n02110958_1").write_bytes(content.encode(encoding))
        assert "is not an annotation" in refusal(dataset.boxes, dogs, f"{PUG}/n02110958_1.jpg")


def test_a_dataset_without_annotations_has_no_boxes(dogs):
    assert dataset.boxes(dogs, f"{PUG}/n02110958_1.jpg") == []


# -- photos by their SHA-256 --------------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """The paths hashed so far."""
    paths = []
    sha256 = dataset._sha256
    monkeypatch.setattr(dataset, "_sha256", lambda path: paths.append(path) or sha256(path))
    return paths


def forget() -> None:
    """As if the process had been started anew."""
    for memory in (dataset._listing, dataset._hashes, dataset._places):
        memory.clear()


def test_photos_are_found_by_content_under_any_name_and_hashed_once(dogs, workplace, hashed):
    photo = dogs / "Images" / PUG / "n02110958_1.jpg"
    sha256 = artifacts.sha256_of(photo)
    other = workplace / "data" / "deep" / "er" / "Renamed.JPG"
    other.parent.mkdir(parents=True)
    photo.rename(other)
    assert dataset.photo_paths([sha256, "0" * 64]) == {sha256: other}
    assert len(hashed) == 24
    assert dataset.photo_paths([sha256]) == {sha256: other}
    forget()
    assert dataset.photo_paths([sha256]) == {sha256: other}
    assert len(hashed) == 24


def test_only_files_of_the_wanted_sizes_are_hashed(dogs, hashed):
    first, second = (dogs / "Images" / PUG / f"n02110958_{n}.jpg" for n in (1, 2))
    with second.open("ab") as file:
        file.write(bytes(100_000))
    wanted = artifacts.sha256_of(second)
    assert dataset.photo_paths([wanted], [100_000]) == {}
    assert hashed == []
    assert dataset.photo_paths([wanted], [second.stat().st_size]) == {wanted: second}
    assert hashed == [str(second)]
    assert dataset.photo_paths([artifacts.sha256_of(first)]) == {artifacts.sha256_of(first): first}


def test_a_file_that_vanished_or_changed_is_not_served_and_its_copy_is(dogs, workplace):
    photo = dogs / "Images" / PUG / "n02110958_1.jpg"
    sha256 = artifacts.sha256_of(photo)
    assert dataset.photo_paths([sha256]) == {sha256: photo}
    content = photo.read_bytes()
    photo.write_bytes(content + b"changed")
    assert dataset.photo_paths([sha256]) == {}
    photo.unlink()
    assert dataset.photo_paths([sha256]) == {}
    copy = workplace / "data" / "copy.jpg"
    copy.write_bytes(content)
    dataset._listing.clear()
    assert dataset.photo_paths([sha256]) == {sha256: copy}


def test_new_photos_are_noticed_after_a_minute_and_other_folders_at_once(dogs, workplace, write_photos, monkeypatch):
    new = write_photos(workplace / "elsewhere", {"boxer": 1}, seed=5) / "Images/boxer/boxer_1.jpg"
    sha256 = artifacts.sha256_of(new)
    assert dataset.photo_paths([sha256]) == {}
    shutil.copy(new, dogs / "boxer.jpg")
    assert dataset.photo_paths([sha256]) == {}
    later = time.monotonic() + 61
    monkeypatch.setattr(dataset.time, "monotonic", lambda: later)
    assert dataset.photo_paths([sha256]) == {sha256: dogs / "boxer.jpg"}
    monkeypatch.setenv("DOGPOC_DATA", str(workplace / "elsewhere"))
    assert dataset.photo_paths([sha256]) == {sha256: new}


def test_a_cache_that_cannot_be_read_or_written_is_no_error(dogs, workplace, monkeypatch):
    photo = dogs / "Images" / PUG / "n02110958_1.jpg"
    sha256 = artifacts.sha256_of(photo)
    for content in (b"{", b"[]", b'{"a": 1}', b'{"a": [1, "x", null]}', b"\xff"):
        (workplace / "cache" / "photos.json").write_bytes(content)
        forget()
        assert dataset.photo_paths([sha256]) == {sha256: photo}
    assert len(json.loads((workplace / "cache" / "photos.json").read_bytes())) == 24
    monkeypatch.setenv("DOGPOC_CACHE", str(photo))  # a file: nothing can be written below it
    forget()
    assert dataset.photo_paths([sha256]) == {sha256: photo}


def test_links_are_followed_and_a_circle_of_links_ends(dogs, workplace, monkeypatch):
    (workplace / "linked").mkdir()
    (workplace / "linked" / "dogs").symlink_to(dogs)
    for name in ("again", "once_more"):
        (dogs / name).symlink_to(workplace / "linked")
    monkeypatch.setenv("DOGPOC_DATA", str(workplace / "linked"))
    sha256 = artifacts.sha256_of(dogs / "Images" / PUG / "n02110958_1.jpg")
    assert list(dataset.photo_paths([sha256])) == [sha256]
    assert len(dataset._hashes) == 24


def test_photos_that_must_be_there_come_in_table_order_or_are_named(dogs):
    table, _report = dataset.make_table(dogs)
    paths = dataset.require_photos(table)
    assert [path.relative_to(dogs / "Images").as_posix() for path in paths] == list(table["id"])
    paths[3].unlink()
    line = refusal(dataset.require_photos, table)
    assert f"1 of 24 photos are not on this machine, the first is {table['id'][3]}" in line


# -- real photos --------------------------------------------------------------------------------------------------


def test_the_real_photos_split_as_stated(real_photos):
    table, report = dataset.make_table(real_photos)
    assert len(table) == 6477
    assert report.exact == (64, 139)
    assert report.near == (223, 490)
    assert report.mixed == 2
    assert table.drop_duplicates(["group", "split"])["group"].is_unique
    shares = pd.crosstab(table["breed"], table["split"], normalize="index")
    for split, share in dataset.SHARES.items():
        assert (shares[split] - share).abs().max() < 0.01
    assert math.isclose((table["split"] == "test").mean(), 0.25, abs_tol=0.002)
