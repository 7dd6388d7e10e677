"""The search for a head's recipe: reported epoch by epoch, stopped early, resumed, shared, and never on test photos."""

from dataclasses import replace

import pytest

from dogpoc import artifacts, dataset, tuning
from dogpoc.methods import Method


@pytest.fixture
def method(dogs, tiny_methods, monkeypatch) -> Method:
    monkeypatch.setattr(tuning, "EPOCHS", 3)
    dataset.split("dogs")
    return tiny_methods["cnn-frozen"]


def test_a_search_is_stored_with_every_trial_s_losses_and_the_best_is_the_least(method):
    record = tuning.tune(method, "dogs", trials=5, command="a command")
    assert artifacts.read_tunings("dogs") == [record]
    assert len(record["trials"]) == 5
    whole = {trial["number"]: min(trial["losses"].values()) for trial in record["trials"] if not trial["pruned"]}
    assert record["best"] == min(whole, key=whole.get)
    for trial in record["trials"]:
        assert tuning.RATES[0] <= trial["params"]["learning_rate"] <= tuning.RATES[1]
        assert tuning.DECAYS[0] <= trial["params"]["weight_decay"] <= tuning.DECAYS[1]
        assert [*trial["losses"]] == [str(epoch) for epoch in range(1, len(trial["losses"]) + 1)]
        assert len(trial["losses"]) == 3 or trial["pruned"]


def test_a_stopped_search_goes_on_and_a_finished_one_tries_nothing(method, monkeypatch):
    real, tried = tuning._try, []

    def stop(trial, *arguments):
        tried.append(trial.number)
        if len(tried) == 2:
            raise KeyboardInterrupt
        return real(trial, *arguments)

    monkeypatch.setattr(tuning, "_try", stop)
    with pytest.raises(KeyboardInterrupt):
        tuning.tune(method, "dogs", trials=3, command="")
    record = tuning.tune(method, "dogs", trials=3, command="")
    assert len(record["trials"]) == 3
    assert len(tried) == 4, "the first trial was kept, the interrupted one tried anew"
    monkeypatch.setattr(tuning, "_search", lambda *_arguments: pytest.fail("searched again"))
    assert tuning.tune(method, "dogs", trials=3, command="") == record


def test_two_machines_share_a_database_and_end_together(method, workplace):
    storage = f"sqlite:///{workplace / 'search.db'}"
    assert len(tuning.tune(method, "dogs", trials=2, storage=storage, command="")["trials"]) == 2
    assert len(tuning.tune(method, "dogs", trials=3, storage=storage, command="")["trials"]) == 3
    assert not list((artifacts.root() / "dogs").glob("*.log"))


def test_the_dropout_of_a_head_with_hidden_layers_is_searched_too(method):
    mlp = replace(method, name="mlp", hidden=(8,), dropout=0.5)
    record = tuning.tune(mlp, "dogs", trials=2, command="")
    assert {trial["params"]["dropout"] for trial in record["trials"]} <= set(tuning.DROPOUTS)


def test_what_cannot_be_searched_is_one_line(method, tiny_methods):
    with pytest.raises(tuning.TuningError, match="nothing to search"):
        tuning.tune(tiny_methods["cnn-imagenet"], "dogs", command="")
    with pytest.raises(tuning.TuningError, match="storage cannot be used"):
        tuning.tune(method, "dogs", storage="nowhere://x", command="")
    artifacts.tuning_path("dogs", "cnn-frozen").write_text("{}")
    with pytest.raises(artifacts.ArtifactError, match="python -m dogpoc tune cnn-frozen"):
        artifacts.read_tunings("dogs")


def test_no_test_photo_is_read(method, monkeypatch):
    asked = []
    real = dataset.require_photos
    monkeypatch.setattr(tuning.dataset, "require_photos", lambda part: asked.append(set(part["split"])) or real(part))
    tuning.tune(method, "dogs", trials=1, command="")
    assert asked == [{"train"}, {"validation"}]
