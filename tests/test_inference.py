"""The one inference core: pixels as documented, runtimes that agree, evaluations that resume and refuse."""

import json
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import v2

from dogpoc import artifacts, comparison, dataset, inference, training
from dogpoc.inference import ModelError
from dogpoc.methods import METHODS, Preprocessing
from dogpoc.metrics import softmax
from dogpoc.photo import PhotoError, read_photo

SEEN = Preprocessing(224, 0.875, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def trained(dogs, workplace, write_photos, tiny_methods) -> dict:
    """A run on "dogs"; "elsewhere" shares two of its breeds and "cats" none."""
    write_photos(workplace / "data" / "elsewhere", {"pug": 4, "beagle": 3, "akita": 5}, seed=9)
    write_photos(workplace / "data" / "cats", {"tabby": 4, "siamese": 4}, seed=8)
    dataset.split("dogs")
    return training.train(tiny_methods["vit-finetuned"], "dogs", name="vit", command="python -m dogpoc train vit")


def evaluate(run: str = "vit", name: str = "dogs") -> dict:
    return inference.evaluate(run, name, command=f"python -m dogpoc evaluate {run} --data {name}")


def smooth_photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)


def test_pixels_are_those_of_a_resize_and_a_centre_crop():
    """timm's own order: short side to size / crop, then the centre; one step here, so equal but for rounding."""
    photo = smooth_photo(500, 375)
    two_steps = v2.Compose([v2.Resize(256, v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)])(photo)
    difference = inference.preprocess(photo, SEEN).astype(int) - np.asarray(two_steps)
    assert np.abs(difference).mean() < 1.0
    assert np.abs(difference).max() < 16


def test_the_box_is_the_centre_of_the_short_side():
    assert inference.crop_box(400, 200, SEEN) == (112.5, 12.5, 287.5, 187.5)


def test_normalisation_is_torchvisions():
    pixels = inference.preprocess(smooth_photo(300, 300), SEEN)
    expected = v2.functional.normalize(torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255, SEEN.mean, SEEN.std)
    torch.testing.assert_close(inference.to_tensor(pixels[None], SEEN)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("network", ["test_vit", "test_efficientnet", "test_resnet"])
def test_the_runtime_answers_as_eager_torch(network):
    torch.manual_seed(0)
    model = timm.create_model(network, num_classes=5).eval()
    seen = Preprocessing(160, 0.9, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 160, 160, 3), dtype=np.uint8)
    fast = inference.compile_classifier(model, seen, breeds="abcde")
    with torch.inference_mode():
        x = inference.to_tensor(pixels, seen)
        expected = model(x).numpy()
        features = model.forward_head(model.forward_features(x), pre_logits=True).numpy()
    logits, feature = fast.forward(pixels)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(feature, features, atol=1e-4)
    np.testing.assert_allclose(fast.forward(pixels[:1])[0], expected[:1], atol=1e-4)
    assert "OpenVINO" in fast.runtime


def test_what_evaluation_stores_is_what_an_upload_gets(trained):
    info = evaluate()
    photos = artifacts.scored_photos(artifacts.read_photos("dogs"), info["breeds"])
    classifier = inference.load_classifier("dogs", "vit")
    images = [read_photo(path.read_bytes()) for path in dataset.require_photos(photos)]
    np.testing.assert_allclose(classifier.logits(images), artifacts.read_logits(info), atol=1e-5)


def test_evaluation_tells_how_its_numbers_came_about(trained):
    info = evaluate()
    assert info["commands"] == {
        "train": "python -m dogpoc train vit",
        "evaluate": "python -m dogpoc evaluate vit --data dogs",
    }
    assert info["eager_agreement"]["top1"] >= 0.995
    assert info["eager_agreement"]["largest_logit_difference"] < 1e-3
    assert info["photos_per_second"] > 0
    assert set(info["metrics"]) == {"validation", "test"}
    assert "OpenVINO" in info["runtime"]
    assert all(problem is None for _what, problem in artifacts.verify())


def test_a_run_is_scored_on_the_breeds_that_another_dataset_shares(trained):
    dataset.split("elsewhere", holdout=True)
    info = evaluate("vit", "elsewhere")
    assert info["trained_on"] == "dogs"
    assert info["scored_breeds"] == ["beagle", "pug"]
    assert info["metrics"]["test"]["photos"] == 7
    assert info["metrics"]["test"]["classes"] == 2
    assert "top1_accuracy_all_breeds" in info["metrics"]["test"]
    assert list(info["files"]) == ["logits.npy"]
    assert inference.load_classifier("elsewhere", "vit").breeds == trained["breeds"]


def test_a_dataset_without_a_known_breed_is_refused(trained):
    dataset.split("cats", holdout=True)
    with pytest.raises(ModelError, match="no validation or test photo of a breed that run 'vit' knows"):
        evaluate("vit", "cats")


def test_an_unknown_run_is_answered_with_those_found(trained):
    with pytest.raises(ModelError, match=r"no trained run 'x'; found: vit\. Run: python -m dogpoc train"):
        evaluate("x")


def test_the_threads_of_an_evaluation_are_the_cores_it_may_use_not_those_of_eager_torch(trained, monkeypatch):
    monkeypatch.setattr(inference.os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert evaluate()["hardware"]["evaluate"].endswith(", 3 threads")


def test_an_interrupted_evaluation_resumes_to_the_same_logits(trained, monkeypatch):
    whole = evaluate()
    logits = np.array(artifacts.read_logits(whole))
    monkeypatch.setattr(inference, "BATCH_SIZE", 2)
    monkeypatch.setattr(inference._PartialLogits, "SAVE_EVERY", 1)
    seen = []

    def stopped(classifier, paths, **options):
        for n, answer in enumerate(inference_stream(classifier, paths, batch_size=2)):
            if n == 2 and not seen:
                seen.append(len(paths))
                raise KeyboardInterrupt
            yield answer

    inference_stream = inference.stream
    monkeypatch.setattr(inference, "stream", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate()
    assert artifacts.read_run("dogs", "vit") == whole, "the old evaluation stays until the new one is whole"
    lengths = []
    monkeypatch.setattr(
        inference,
        "stream",
        lambda c, paths, **o: lengths.append(len(paths)) or inference_stream(c, paths, batch_size=2),
    )
    again = evaluate()
    assert lengths[0] == seen[0] - 4, "four photos were done"
    np.testing.assert_allclose(artifacts.read_logits(again), logits, atol=1e-5)
    assert not list(artifacts.run_folder("dogs", "vit").glob(".*"))


def test_a_full_disk_is_noticed_at_once_and_the_old_run_stays(trained, monkeypatch):
    old = evaluate()

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inference.os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        evaluate()
    assert artifacts.read_run("dogs", "vit") == old


def test_a_photo_that_went_bad_is_one_line_and_the_old_run_stays(trained, monkeypatch):
    old = evaluate()
    photos = artifacts.scored_photos(artifacts.read_photos("dogs"), old["breeds"])
    paths = dataset.require_photos(photos)
    paths[3].write_bytes(b"not a photo")
    monkeypatch.setattr(dataset, "require_photos", lambda table: paths)
    with pytest.raises(PhotoError):
        evaluate()
    assert artifacts.read_run("dogs", "vit") == old


def test_truncated_weights_are_refused_by_name(trained):
    path = artifacts.run_folder("dogs", "vit") / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(artifacts.ArtifactError, match=r"weights\.safetensors is damaged"):
        inference.load_classifier("dogs", "vit")


def test_a_truncated_backbone_is_refused_by_name(dogs, tiny_methods, workplace):
    dataset.split("dogs")
    path = workplace / "weights" / "cnn.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"cnn\.safetensors is not a complete safetensors file"):
        training.train(tiny_methods["cnn-frozen"], "dogs", name="cnn", command="test")


def test_a_frozen_run_refuses_another_backbone_and_says_where_a_missing_one_goes(dogs, tiny_methods, workplace):
    dataset.split("dogs")
    info = training.train(tiny_methods["cnn-frozen"], "dogs", name="cnn", command="test")
    path = workplace / "weights" / "cnn.safetensors"
    (workplace / "weights" / "vit.safetensors").unlink()
    assert artifacts.missing_weights(info) is None
    moved = path.rename(workplace / "kept")
    assert artifacts.missing_weights(info)[0] == "cnn.safetensors"
    with pytest.raises(ModelError, match=r"needs cnn\.safetensors.*DOGPOC_WEIGHTS"):
        inference.load_classifier("dogs", "cnn")
    state = {key: value + 1 for key, value in inference._read_weights(moved).items()}
    from safetensors.torch import save_file

    save_file(state, path)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        inference.load_classifier("dogs", "cnn")


def test_weights_that_are_too_large_to_ship_may_be_absent_and_the_run_says_how_to_make_them(trained, monkeypatch):
    evaluate()
    path = artifacts.run_folder("dogs", "vit") / artifacts.WEIGHTS
    path.unlink()
    assert "weights.safetensors is missing" in dict(artifacts.verify())["dogs/vit"]
    monkeypatch.setattr(artifacts, "SHIPPED_BYTES", 100)
    assert dict(artifacts.verify())["dogs/vit"] is None
    with pytest.raises(ModelError, match=r"needs vit/weights\.safetensors.* run: python -m dogpoc train vit --force"):
        inference.load_classifier("dogs", "vit")
    path.write_bytes(b"other weights")
    assert "is damaged" in dict(artifacts.verify())["dogs/vit"]


def test_a_hub_model_of_transformers_serves_like_timms(tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=16
    )
    source = ViTForImageClassification(config).eval()
    source.save_pretrained(tmp_path / "model")
    backbone = inference.Backbone(str(tmp_path / "model"), SEEN, library="transformers", hub=str(tmp_path / "model"))
    network = inference.build(backbone, 3)
    assert inference.load_backbone(network, backbone) is None
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        tokens = source.vit(x).last_hidden_state
        torch.testing.assert_close(network.forward_features(x), tokens)
        torch.testing.assert_close(network(x), network.get_classifier()(tokens[:, 0]))
    assert network(x).shape == (2, 3)


def test_no_hub_is_one_line(monkeypatch):
    def offline(*_args, **_options):
        raise OSError("We couldn't connect\nto the hub")

    for loader in ("AutoConfig", "AutoModel"):
        monkeypatch.setattr(f"transformers.{loader}.from_pretrained", offline)
    backbone = METHODS["vit-base-in21k"].backbones[0]
    for ask in (
        lambda: inference.build(replace(backbone, kwargs={}), 3),
        lambda: inference.load_backbone(torch.nn.Identity(), backbone),
    ):
        with pytest.raises(ModelError, match=r"hub did not give the weights \(We couldn't connect\)"):
            ask()


def test_memory_does_not_grow_with_the_number_of_photos(trained):
    classifier = inference.load_classifier("dogs", "vit")
    paths = dataset.require_photos(artifacts.read_photos("dogs"))

    def peak(times: int) -> int:
        tracemalloc.start()
        for _answer in inference.stream(classifier, paths * times, batch_size=8):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(2)
    extra = 12 * len(paths) * 32 * 32 * 3  # bytes of the additional photos' pixels
    assert peak(16) - peak(4) < 0.2 * extra


def test_the_parameter_counts_are_those_of_the_papers():
    """MobileNetV2 (Sandler et al. 2018): 3.4 M with 1,000 classes; ViT-Ti/16 (Steiner et al. 2022): 5.7 M."""
    counts = {
        name: sum(p.numel() for p in inference.build(METHODS[name].backbones[0], 1000).parameters())
        for name in ("mobilenetv2-frozen", "vit-tiny-finetuned")
    }
    assert counts == {"mobilenetv2-frozen": 3_504_872, "vit-tiny-finetuned": 5_717_416}


def test_a_method_is_plain_data():
    for method in METHODS.values():
        assert json.loads(json.dumps(inference.as_plain(method)))["name"] == method.name


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="POSIX signals")
def test_a_signal_after_a_model_was_dropped_in_another_thread_does_not_end_the_process():
    code = """
import signal, subprocess, threading, timm
from dogpoc import inference
from dogpoc.methods import HALF, Preprocessing
signal.signal(signal.SIGCHLD, lambda *_: None)
network = timm.create_model("test_vit", img_size=32, num_classes=3).eval()
models = [inference.compile_classifier(network, Preprocessing(32, 1.0, "bilinear", HALF, HALF), breeds="abc")]
thread = threading.Thread(target=models.clear)
thread.start()
thread.join()
subprocess.run(["true"])
print("alive")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "alive", ran.returncode


def test_breeds_are_found_among_imagenet_classes_by_name():
    names = ["Afghan_hound", "black-and-tan_coonhound", "Cardigan", "Beagle"]
    assert inference.imagenet_rows(names) == [160, 165, 264, 162]  # 264 is the corgi, 474 the garment


@pytest.mark.parametrize("name", ["unicorn", "cardigan"])
def test_a_name_that_is_no_class_or_two_is_refused(name):
    with pytest.raises(inference.ModelError, match=f"'{name}' is not one of ImageNet-1k's classes"):
        inference.imagenet_rows(["beagle", name])


def test_a_backbone_without_an_imagenet_classifier_cannot_start_from_it(tiny_methods, workplace):
    backbone = tiny_methods["cnn-frozen"].backbones[0]
    network = timm.create_model(backbone.model, num_classes=10)
    save_file(network.state_dict(), workplace / "weights" / "cnn.safetensors")
    with pytest.raises(inference.ModelError, match="has no ImageNet-1k classifier"):
        inference.load_backbone(inference.build(backbone, 1), backbone, ["beagle"])


def test_what_a_run_was_not_taught_is_measured_kept_and_verified(dogs, tiny_methods, workplace, write_photos):
    dataset.split("dogs")
    training.train(tiny_methods["cnn-frozen"], "dogs", name="cnn-frozen", command="test")
    inference.evaluate("cnn-frozen", "dogs", command="test")
    write_photos(workplace / "data" / "others", {"Shiba_Inu": 5, "Greyhound": 4}, seed=9)
    info = inference.meet_unknown("cnn-frozen", "dogs", "others", command="test")
    assert {source: numbers["photos"] for source, numbers in info["unknown"].items()} == {"noise": 60, "others": 9}
    assert [problem for _what, problem in artifacts.verify()] == [None, None]
    artifacts.write_run(info | {"unknown": {"noise": info["unknown"]["noise"]}}, {})
    assert "unknown.csv" in [problem for _what, problem in artifacts.verify()][1]


def test_photos_of_breeds_that_the_run_knows_are_no_test_of_the_unknown(dogs, tiny_methods):
    dataset.split("dogs")
    training.train(tiny_methods["cnn-frozen"], "dogs", name="cnn-frozen", command="test")
    with pytest.raises(ModelError, match="it was not validated"):
        inference.meet_unknown("cnn-frozen", "dogs", "dogs", command="test")
    inference.evaluate("cnn-frozen", "dogs", command="test")
    with pytest.raises(ModelError, match="knows Afghan_hound"):
        inference.meet_unknown("cnn-frozen", "dogs", "dogs", command="test")


def seen_small(crop: float) -> Preprocessing:
    return Preprocessing(50, crop, "bilinear", (0.5,) * 3, (0.5,) * 3)


def test_ten_crop_sees_the_corners_and_the_centre_each_with_its_mirror_image():
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:20, :20, 0] = pixels[-20:, :20, 1] = pixels[:20, -20:, 2] = 255
    pixels[-20:, -20:] = 255
    seen = inference.views_of(Image.fromarray(pixels), "ten-crop", seen_small(0.5))
    assert len(seen) == 10
    assert {part.shape for part in seen} == {(50, 50, 3)}
    corners = [tuple(part[i, j]) for part, (i, j) in zip(seen, [(2, 2), (-3, 2), (2, -3), (-3, -3)], strict=False)]
    assert corners == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    assert seen[4].max() == 0
    for part, mirrored in zip(seen[:5], seen[5:], strict=True):
        np.testing.assert_array_equal(part[:, ::-1], mirrored)
    flipped = inference.views_of(Image.fromarray(pixels), "flip", seen_small(1.0))
    assert len(flipped) == 2
    assert len(inference.views_of(Image.fromarray(pixels), "centre", seen_small(1.0))) == 1


def test_several_views_are_a_run_of_their_own_with_the_mean_probability(trained):
    once = evaluate()
    info = inference.evaluate("vit", "dogs", command="", views="flip")
    assert (info["run"], info["views"]) == ("vit-flip", {"kind": "flip", "of": "vit"})
    assert list(info["files"]) == ["logits.npy"]
    photos = artifacts.scored_photos(artifacts.read_photos("dogs"), info["breeds"])
    model = inference.load_classifier("dogs", "vit")
    for row, path in enumerate(dataset.require_photos(photos)):
        seen = inference.preprocess(read_photo(path.read_bytes()), model.preprocessing)
        logits = model.forward(np.stack([seen, seen[:, ::-1]]))[0]
        np.testing.assert_allclose(np.exp(artifacts.read_logits(info)[row]), softmax(logits).mean(axis=0), atol=1e-6)
    assert artifacts.read_run("dogs", "vit")["files"] == once["files"]
    assert len(artifacts.read_history(info)) == len(artifacts.read_history(once))
    assert comparison.sister_runs([once, info], "vit") == ["vit"]
    assert dict(artifacts.verify())["dogs/vit-flip"] is None
    again = inference.evaluate("vit-flip", "dogs", command="")
    assert again["metrics"] == info["metrics"]


def test_several_views_of_photos_from_elsewhere_come_after_those_at_home_which_give_the_temperature(trained):
    dataset.split("elsewhere", holdout=True)
    evaluate()
    with pytest.raises(ModelError, match="First run: python -m dogpoc evaluate vit --data dogs --views ten-crop"):
        inference.evaluate("vit", "elsewhere", command="", views="ten-crop")
    home = inference.evaluate("vit", "dogs", command="", views="ten-crop")
    assert inference.evaluate("vit", "elsewhere", command="", views="ten-crop")["temperature"] == home["temperature"]


def test_several_views_never_take_the_name_of_another_run(trained, tiny_methods):
    evaluate()
    info = training.train(tiny_methods["cnn-frozen"], "dogs", name="vit-flip", command="")
    with pytest.raises(ModelError, match="'vit-flip' is the name of another run"):
        inference.evaluate("vit", "dogs", command="", views="flip")
    assert artifacts.read_run("dogs", "vit-flip") == info


def test_what_is_measured_of_a_network_holds_for_its_run_of_several_views_and_roles_go_to_others_first(trained):
    evaluate()
    once = inference.embed("vit", "dogs", command="")
    several = inference.evaluate("vit", "dogs", command="", views="flip")
    np.testing.assert_array_equal(artifacts.read_features(several), artifacts.read_features(once))
    assert artifacts.embed_command(several) == "python -m dogpoc embed vit --data dogs"
    assert artifacts.default_pair("dogs") == ("vit", "vit-flip")
    artifacts.write_run({**once, "run": "zebra"}, {"logits.npy": artifacts.run_file(once, "logits.npy").read_bytes()})
    assert artifacts.default_pair("dogs") == ("vit", "zebra")


def test_a_run_of_several_views_answers_no_new_photo_and_says_which_run_does(trained):
    evaluate()
    inference.evaluate("vit", "dogs", command="", views="flip")
    for ask in (inference.load_classifier, lambda data, run: inference.embed(run, data, command="")):
        with pytest.raises(ModelError, match="is run 'vit' with several views of each photo: choose 'vit'"):
            ask("dogs", "vit-flip")
