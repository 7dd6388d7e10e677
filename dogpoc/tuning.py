"""Search for the recipe of a method's head: Hyperband (Li et al. 2018) by Optuna, resumable, on one machine or many."""

import shutil
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState
from torch import nn
from transformers import TrainerCallback

from dogpoc import DogpocError, artifacts, dataset, inference, training
from dogpoc.methods import Method, Recipe
from dogpoc.translation import _

TRIALS = 40
EPOCHS = 27  # of a trial that is never stopped; Hyperband's rungs are 1, 3, 9 and 27 epochs
REDUCTION = 3
RATES = (1e-4, 1e-1)
DECAYS = (1e-4, 1.0)
DROPOUTS = (0.3, 0.4, 0.5, 0.6)  # of heads with hidden layers
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class TuningError(DogpocError):
    """A method that has no head to search for, or a storage that cannot be used."""


class _Reporter(TrainerCallback):
    """Tells a trial the validation loss of every epoch, and stops it where Hyperband says so."""

    def __init__(self, trial: optuna.Trial):
        self.trial, self.pruned = trial, False

    def on_evaluate(self, _args, state, control, metrics, **_others):
        epoch = round(state.epoch)
        self.trial.report(metrics["eval_loss"], epoch)
        if self.trial.should_prune() and epoch < EPOCHS:
            self.pruned = control.should_training_stop = True


def tune(
    method: Method,
    dataset_name: str,
    *,
    trials: int = TRIALS,
    storage: str | None = None,
    command: str,
    progress: bool = False,
) -> dict:
    """Search learning rate, weight decay and, for heads with hidden layers, dropout of a method's head on frozen
    features, by the validation loss; stores and returns the record that artifacts.read_tuning reads.

    trials: ended trials at the end, by all machines together; a stopped search goes on.
    storage: URL of a database that several machines share; by default a file beside the dataset's photo table.
    Errors: ArtifactError, ModelError, DatasetError, TuningError.
    """
    if method.probe is None or method.probe.augmentation != "none":
        raise TuningError(
            _("method '{method}' trains no head on frozen features: there is nothing to search").format(
                method=method.name
            )
        )
    study = _study(method, dataset_name, storage)
    if _ended(study) < trials:
        _search(study, method, dataset_name, trials, progress)
    record = _record(study, method, dataset_name, command)
    artifacts.write_tuning(dataset_name, method.name, record)
    return record


def _study(method: Method, dataset_name: str, storage: str | None) -> optuna.Study:
    """The search so far: one for each method and photo table."""
    digest = artifacts.read_dataset(dataset_name)["digest"]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=f"{dataset_name}/{method.name}/{digest[:16]}",
            storage=storage or _file_storage(dataset_name, method.name),
            sampler=optuna.samplers.TPESampler(seed=method.seed),
            pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=REDUCTION),
            load_if_exists=True,
        )
    except Exception as error:  # whatever the driver of an address that a user gave raises
        if storage is None:
            raise
        raise TuningError(
            _("the storage cannot be used ({reason}); give a URL such as sqlite:///search.db").format(
                reason=(str(error).splitlines() or [type(error).__name__])[0][:150]
            )
        ) from None


def _file_storage(dataset_name: str, method: str) -> optuna.storages.JournalStorage:
    from optuna.storages import journal

    path = str(artifacts.tuning_path(dataset_name, method).with_suffix(".log"))
    lock = journal.JournalFileOpenLock(path)  # links, the other kind of lock, need rights on Windows
    return optuna.storages.JournalStorage(journal.JournalFileBackend(path, lock_obj=lock))


def _ended(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=ENDED))


def _search(study: optuna.Study, method: Method, dataset_name: str, trials: int, progress: bool) -> None:
    table = artifacts.read_photos(dataset_name)
    parts = [table[table["split"] == split] for split in ("train", "validation")]
    breeds = sorted(parts[0]["breed"].unique())
    labels = [pd.Index(breeds).get_indexer(part["breed"]) for part in parts]
    backbone = inference.choose_backbone(method.backbones)
    network = inference.build(backbone, len(breeds), method.hidden, dropout=method.dropout)
    inference.load_backbone(network, backbone, breeds if method.head == "imagenet" else ())
    paths = [dataset.require_photos(part) for part in parts]
    features = training.features_of(network, [backbone.preprocessing] * 2, paths, progress)
    head = network.get_classifier()
    if method.head == "new":
        training.make_new(head)
    study.optimize(
        lambda trial: _try(trial, head, method, features, labels),
        callbacks=[optuna.study.MaxTrialsCallback(trials, states=ENDED)],
        show_progress_bar=False,
    )


def _try(
    trial: optuna.Trial, head: nn.Module, method: Method, features: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> float:
    """The least validation loss of one trial's head."""
    fresh, recipe = deepcopy(head), _suggested(trial, method)
    if method.hidden:
        dropout = trial.suggest_categorical("dropout", DROPOUTS)
        for module in fresh.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
    reporter, place = _Reporter(trial), Path(tempfile.mkdtemp())
    try:
        history = training.fit_head(fresh, recipe, method.seed, features, labels, place, callbacks=[reporter])
    finally:
        shutil.rmtree(place)
    if reporter.pruned:
        raise optuna.TrialPruned
    return float(history["validation_loss"].min())


def _suggested(trial: optuna.Trial, method: Method) -> Recipe:
    return replace(
        method.probe,
        epochs=EPOCHS,
        patience=EPOCHS,
        learning_rate=trial.suggest_float("learning_rate", *RATES, log=True),
        weight_decay=trial.suggest_float("weight_decay", *DECAYS, log=True),
    )


def _record(study: optuna.Study, method: Method, dataset_name: str, command: str) -> dict:
    """What the pages show of a search."""
    ended = study.get_trials(deepcopy=False, states=ENDED)
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    varied = len({tuple(trial.params.values()) for trial in complete}) > 1
    importances = optuna.importance.get_param_importances(study) if varied else {}
    return {
        "dataset": dataset_name,
        "method": method.name,
        "photos_digest": artifacts.read_dataset(dataset_name)["digest"],
        "command": command,
        "epochs": EPOCHS,
        "usual": {"learning_rate": method.probe.learning_rate, "weight_decay": method.probe.weight_decay},
        "best": study.best_trial.number if complete else None,
        "importances": {name: round(float(share), 4) for name, share in importances.items()},
        "trials": [
            {
                "number": trial.number,
                "pruned": trial.state == TrialState.PRUNED,
                "params": trial.params,
                "losses": {str(epoch): round(loss, 5) for epoch, loss in trial.intermediate_values.items()},
            }
            for trial in ended
        ],
    }
