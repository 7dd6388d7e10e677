"""The command line: a thin shell over the modules of this package. python -m dogpoc --help"""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from dogpoc import DogpocError, artifacts, metrics
from dogpoc.methods import VIEWS
from dogpoc.translation import _, breed_label, number, percent, translated

app = typer.Typer(
    help="Compare image classifiers on the same photos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[str, typer.Option("--data", help="Dataset: its name in artifacts/.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def command_line() -> str:
    """The command as typed, for run.json."""
    return " ".join(["python -m dogpoc", *sys.argv[1:]])


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="stanford-dogs")],
    folder: Annotated[Path, typer.Option(help="Where to put it.")] = Path("data"),
) -> None:
    """Fetch a dataset from its official site."""
    from dogpoc import download as source

    typer.echo(source.download(name, folder))


@app.command()
def split(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a photo folder, or its path.")],
    breeds: Annotated[
        str | None,
        typer.Option(help="A subset: names with commas, a number of breeds, '=150' or '=150-152' photos a breed."),
    ] = None,
    called: Annotated[str | None, typer.Option("--name", help="Name of the dataset in artifacts/.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    holdout: Annotated[bool, typer.Option(help="All photos for test: nothing is trained on this dataset.")] = False,
    force: Annotated[bool, typer.Option(help="Replace a photo table that runs were made on.")] = False,
) -> None:
    """Read a folder of photos and write its photo table: breeds, near-duplicates, train, validation and test."""
    from dogpoc import dataset

    report = dataset.split(name, breeds=breeds, name=called, seed=seed, holdout=holdout, overwrite=force)
    typer.echo(str(report))


@app.command()
def train(
    method: Annotated[str, typer.Argument(help="A method of dogpoc.methods.")],
    data: Data,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default the method's, with its seed.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; by default the method's.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = False,
    force: Annotated[bool, typer.Option(help="Train anew, replacing the run.")] = False,
) -> None:
    """Train a method on a dataset."""
    from dogpoc.methods import find_method

    chosen = find_method(method)
    artifacts.read_photos(data)
    from dogpoc import training

    run = name or (chosen.name if seed in (None, chosen.seed) else f"{chosen.name}-seed{seed}")
    info = training.train(
        training.with_seed(chosen, seed),
        data,
        name=artifacts.check_name(run),
        command=command_line(),
        resume=resume,
        force=force,
        progress=True,
    )
    typer.echo(
        _("trained {run}: {trained} of {parameters} parameters in {seconds} s. Next: {command}").format(
            run=run,
            trained=number(info["trained_parameters"]),
            parameters=number(info["parameters"]),
            seconds=number(info["train_seconds"]),
            command=artifacts.evaluate_command(data, run),
        )
    )


@app.command()
def methods(as_json: Json = False) -> None:
    """List the methods that can be trained, with their size and what an earlier study reports of each."""
    from dogpoc import inference
    from dogpoc.methods import METHODS

    rows = [inference.describe(method) for method in METHODS.values()]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    from tabulate import tabulate

    shown = [_method_words(row) for row in rows]
    typer.echo(tabulate(shown, headers="keys", disable_numparse=True, maxcolwidths=[None, 40, *[None] * 4, 40]))
    typer.echo(_("published: by the earlier study, on other data; nothing of it was measured here"))


def _method_words(row: dict) -> dict[str, str]:
    from dogpoc.methods import Published

    published, stands_for = row["published"] and Published(**row["published"]), row["stands_for"]
    figure = f"{published.figure()} ({translated(published.data)})" if published else ""
    return {
        _("method"): row["name"],
        _("source"): "; ".join(filter(None, (row["study"] and translated(row["study"]), row["source"]))),
        _("breeds"): number(row["breeds"]),
        _("pixels"): number(row["size"]),
        _("parameters"): number(row["parameters"]),
        _("trained"): number(row["trained_parameters"]),
        _("published"): _("stands for {method}").format(method=stands_for) if stands_for else figure,
    }


Views = StrEnum("Views", [(kind, kind) for kind in VIEWS])


@app.command()
def evaluate(
    run: str,
    data: Data,
    views: Annotated[
        Views | None,
        typer.Option(help="Mean of several views of each photo, as a run of its own: 2 or 10 times the cost."),
    ] = None,
) -> None:
    """Store a run's logits and numbers for the validation and test photos of a dataset that shares its breeds."""
    artifacts.read_photos(data)
    from dogpoc import inference

    info = inference.evaluate(run, data, command=command_line(), views=views and views.value, progress=True)
    typer.echo(
        _("{photos} photos/s with {runtime}; top-1 as eager float32 on {agreement} of {checked} photos").format(
            photos=number(info["photos_per_second"]),
            runtime=info["runtime"],
            agreement=percent(info["eager_agreement"]["top1"]),
            checked=info["eager_agreement"]["photos"],
        )
    )
    if info["scored_breeds"] != info["breeds"]:
        typer.echo(
            _("scored on the {shared} breeds that '{run}' ({known} breeds) and '{dataset}' share").format(
                shared=len(info["scored_breeds"]), run=run, known=len(info["breeds"]), dataset=data
            )
        )
    for part, numbers in info["metrics"].items():
        typer.echo(
            _("{split}: top-1 {top1}, top-3 {top3}, log loss {loss} on {photos} photos").format(
                split=part,
                top1=percent(numbers["top1_accuracy"]),
                top3=percent(numbers["top3_accuracy"]),
                loss=number(numbers["log_loss"], 3),
                photos=number(numbers["photos"]),
            )
        )


@app.command()
def unknown(
    run: str,
    data: Data,
    photos: Annotated[str, typer.Option(help="Photos of breeds that the run does not know: a folder's name or path.")],
) -> None:
    """Measure how well a run notices photos of breeds that it was not taught, and noise."""
    artifacts.read_run(data, run)
    from dogpoc import inference

    info = inference.meet_unknown(run, data, photos, command=command_line(), progress=True)
    alarms = info["metrics"].get("test", {}).get("called_strange", 0.0)
    for source, numbers in info["unknown"].items():
        typer.echo(
            _("{source}: {caught} of {photos} called strange (AUROC {auroc}); false alarms {alarms}").format(
                source=source,
                caught=percent(numbers["caught"]),
                photos=numbers["photos"],
                auroc=number(numbers["auroc"], 3),
                alarms=percent(alarms),
            )
        )


@app.command()
def embed(run: str, data: Data) -> None:
    """Store a run's features of all photos of a dataset: for the photo map, typical photos and similar breeds."""
    artifacts.read_run(data, run)
    from dogpoc import inference

    info = inference.embed(run, data, command=command_line(), progress=True)
    made = info["embedding"]
    typer.echo(
        _("features of {photos} photos in {d} dimensions, which hold {share} of their variance").format(
            photos=number(len(artifacts.read_photos(data))), d=made["dimensions"], share=percent(made["kept_variance"])
        )
    )


@app.command()
def runs(as_json: Json = False) -> None:
    """List the stored runs with their numbers."""
    rows, problems = [], []
    for dataset in artifacts.datasets():
        for name in artifacts.runs(dataset):
            try:
                rows.append(_row(artifacts.read_run(dataset, name)))
            except DogpocError as error:
                problems.append(str(error))
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        _print_table(rows)
    for problem in problems:
        typer.echo(f"dogpoc: {problem}", err=True)
    if problems:
        raise typer.Exit(2)


def _row(info: dict) -> dict:
    numbers = info["metrics"].get("test", {})
    return {
        "dataset": info["dataset"],
        "run": info["run"],
        "method": info["method"]["name"],
        "split": "test",
        **{key: numbers.get(key) for key in ("photos", "classes", "top1_accuracy", "top3_accuracy", "log_loss")},
        **{
            key: info[key]
            for key in (
                "parameters",
                "trained_parameters",
                "train_seconds",
                "evaluation_seconds",
                "trained_on",
                "runtime",
            )
        },
    }


def _print_table(rows: list[dict]) -> None:
    from tabulate import tabulate

    shown = [
        {
            _("dataset"): row["dataset"],
            _("run"): row["run"],
            _("photos"): number(row["photos"] or 0),
            _("breeds"): row["classes"],
            _("top-1"): percent(row["top1_accuracy"] or 0),
            _("top-3"): percent(row["top3_accuracy"] or 0),
            _("log loss"): number(row["log_loss"] or 0, 3),
            _("parameters"): number(row["parameters"]),
            _("trained"): number(row["trained_parameters"]),
            _("train s"): number(row["train_seconds"]),
            _("evaluation s"): number(row["evaluation_seconds"], 1),
        }
        for row in rows
    ]
    typer.echo(tabulate(shown, headers="keys", disable_numparse=True) if rows else _("no runs yet"))


@app.command()
def compare(baseline: str, new: str, data: Data, as_json: Json = False) -> None:
    """Say whether NEW is better than BASELINE on a dataset's test photos, and how surely."""
    from dogpoc import comparison

    evaluations = [artifacts.read_evaluation(data, run) for run in (baseline, new)]
    result = comparison.compare(*evaluations)
    if as_json:
        words = {"sentence": comparison.verdict(result), "caveat": comparison.caveat()}
        spreads = [_seeds(data, run) for run in evaluations]
        runs = dict(zip(("baseline", "new"), map(_statistics, evaluations, spreads), strict=True))
        over_seeds = comparison.seeds_difference(*spreads)
        found = {**comparison.as_json(result), **words, "runs": runs, "difference_over_seeds": over_seeds}
        typer.echo(json.dumps(found, indent=1))
    else:
        typer.echo(comparison.verdict(result))
        typer.echo(comparison.caveat())
        for run in evaluations:
            counts = metrics.confusions(run.logits, run.true).counts
            if words := comparison.guess_words(run.run, counts, run.breeds):
                typer.echo(words)


def _statistics(run: artifacts.Evaluation, spread) -> dict:
    """What the metrics page shows of one run on these photos. spread: its comparison.Seeds."""
    probs, sizes = metrics.softmax(run.logits), metrics.sizes_up_to(run.true)
    return {
        "run": run.run,
        **artifacts.measure_part(run),
        "temperature": run.info.get("temperature"),
        "most_frequent_breed": np.bincount(run.true).max() / len(run.true),
        "confidence_gap": metrics.confidence_gap(run.logits, run.true),
        "abstaining": [
            dict(zip(("threshold", "answered", "right"), (t, *metrics.abstaining(probs, run.true, t)), strict=True))
            for t in (0.5, 0.8, 0.9, 0.95)
        ],
        "accuracy_by_breeds": [
            {"breeds": size, "mean": mean, "low": low, "high": high}
            for size, (mean, low, high) in zip(
                sizes, metrics.accuracy_by_breeds(run.logits, run.true, sizes).tolist(), strict=True
            )
        ],
        "seeds": dict(zip(spread.runs, spread.accuracies, strict=True)),
        "parameters": run.info["parameters"],
        "trained_parameters": run.info["trained_parameters"],
        "weights_bytes": run.info["weights_bytes"],
        "train_seconds": run.info["train_seconds"],
        "evaluation_seconds": run.info["evaluation_seconds"],
        "photos_per_second": run.info["photos_per_second"],
    }


def _seeds(data: str, run: artifacts.Evaluation):
    """The runs with the method of `run`, whatever their seed."""
    from dogpoc import comparison

    infos = [artifacts.read_run(data, name) for name in artifacts.runs(data)]
    sisters = [artifacts.read_evaluation(data, name) for name in comparison.sister_runs(infos, run.run)]
    right = {sister.run: sister.logits.argmax(axis=1) == sister.true for sister in sisters}
    return comparison.seeds(run.info["method"]["name"], right)


@app.command()
def confusions(
    run: str,
    data: Data,
    against: Annotated[str | None, typer.Option(help="Another run: whether it makes the same mistakes.")] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: column `list` says pairs or worst.")] = False,
    top: Annotated[int, typer.Option(min=1, help="How many of each to print as text.")] = 15,
) -> None:
    """Rank a run's confusions on a dataset's test photos, and the breeds that it knows worst."""
    if as_json and as_csv:
        raise DogpocError(_("--json or --csv, not both"))
    stored = artifacts.read_evaluation(data, run)
    found = metrics.confusions(stored.logits, stored.true)
    other = _counts_of(stored, against) if against else None
    pairs = metrics.ranked_pairs(stored.breeds, found.counts, other)
    worst = metrics.worst_breeds(stored.breeds, found.counts, found.mean_probs)
    if as_json:
        about = {"dataset": data, "run": run, "against": against, "photos": len(stored.true)}
        lists = {"worst": _plain_rows(worst), "pairs": _plain_rows(pairs)}
        typer.echo(json.dumps({**about, **lists}, indent=1))
    elif as_csv:
        confusers = worst["confusers"].map(lambda breeds: ";".join(each["breed"] for each in breeds))
        rows = [pairs.assign(list="pairs"), worst.assign(list="worst", confusers=confusers)]
        table = pd.concat([part.astype(object) for part in rows])
        typer.echo(table[["list", *table.columns.drop("list")]].to_csv(index=False), nl=False)
    else:
        _print_confusions(pairs[:top], worst[:top], against)


def _counts_of(stored: artifacts.Evaluation, against: str) -> np.ndarray:
    """(C, C) counts of another run on the same photos. Raises ComparisonError if they are not the same."""
    from dogpoc import comparison

    other = artifacts.read_evaluation(stored.dataset, against)
    comparison.check_comparable(stored, other)
    return metrics.confusions(other.logits, other.true).counts


def _plain_rows(table: pd.DataFrame) -> list[dict]:
    """The rows of a table as plain Python values."""
    return table.astype(object).to_dict("records")


def _print_confusions(pairs: pd.DataFrame, worst: pd.DataFrame, against: str | None) -> None:
    from tabulate import tabulate

    typer.echo(
        tabulate([_pair_words(row, against) for _k, row in pairs.iterrows()], headers="keys", disable_numparse=True)
    )
    if pairs.empty:
        typer.echo(_("no photo is named wrongly"))
    typer.echo()
    shown = [
        {
            _("breed"): breed_label(row["breed"]),
            _("photos"): number(row["support"]),
            _("mean probability"): percent(row["mean_probability"]),
            _("recognised"): _with_interval(row["recall"], row["recall_low"], row["recall_high"]),
            _("strongest confusers"): ", ".join(
                f"{breed_label(each['breed'])} {percent(each['mean_probability'])}" for each in row["confusers"]
            ),
        }
        for _k, row in worst.iterrows()
    ]
    typer.echo(tabulate(shown, headers="keys", disable_numparse=True))


def _pair_words(row: pd.Series, against: str | None) -> dict[str, str]:
    words = {
        _("true breed"): breed_label(row["true_breed"]),
        _("taken for"): breed_label(row["predicted_breed"]),
        _("photos"): f"{row['photos']} / {row['support']}",
        _("share"): _with_interval(row["share"], row["share_low"], row["share_high"]),
    }
    if against:
        shares = (row[f"against_{name}"] for name in ("share", "share_low", "share_high"))
        words[against] = f"{row['against_photos']}: {_with_interval(*shares)}"
    return words


def _with_interval(share: float, low: float, high: float) -> str:
    return f"{percent(share)} [{percent(low)}, {percent(high)}]"


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO|FOLDER|-...")],
    data: Data = "dogs47",
    baseline: Annotated[str | None, typer.Option(help="Run; by default the dataset's baseline.")] = None,
    new: Annotated[str | None, typer.Option(help="Run; by default the dataset's new method.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many breeds to print.")] = 5,
    confidence: Annotated[float, typer.Option(help="Of the sets of breeds: 0.8, 0.9, 0.95 or 0.99.")] = 0.9,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line a photo and run.")] = False,
) -> None:
    """Print the most likely breeds of each photo, from both runs, and the set of breeds that holds the true one with
    the given confidence. Folders stand for the photos in them, - for one on standard input. Exit code 2 if a file is
    not a photo."""
    from tqdm import tqdm

    from dogpoc import doubt
    from dogpoc.photo import PhotoError, read_photo

    if confidence not in doubt.CONFIDENCES:
        known = ", ".join(map(str, doubt.CONFIDENCES))
        raise DogpocError(_("confidence is {asked}; known: {known}").format(asked=confidence, known=known))
    answers, classifiers, failed = [], {}, False
    for path in tqdm(_photo_files(photos), disable=None if len(photos) > 1 or photos[0].is_dir() else True):
        try:
            image = read_photo(sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes())
        except (PhotoError, OSError) as error:
            failed = True
            typer.echo(f"dogpoc: {path}: {error if isinstance(error, PhotoError) else error.strerror}", err=True)
        else:
            classifiers = classifiers or _load(data, _runnable_pair(data, baseline, new))
            answers.append({"photo": str(path), **_answer(classifiers, image, top, confidence)})
    if as_json:
        typer.echo(json.dumps(answers, indent=1))
    elif as_csv:
        _print_csv(answers)
    else:
        _print_answers(answers)
    if failed:
        raise typer.Exit(2)


def _runnable_pair(data: str, baseline: str | None, new: str | None) -> list[str]:
    """The two runs to ask; where a default one cannot answer on this machine, its stand-in, announced."""
    pair = []
    for asked, default in zip((baseline, new), artifacts.default_pair(data), strict=True):
        info = artifacts.read_run(data, asked or default)
        info = info if asked else artifacts.looking_once(info)
        missing = None if asked else artifacts.missing_weights(info)
        other = artifacts.stand_in(info) if missing else None
        if other:
            typer.echo(
                _("{run} needs {file}, which is not on this machine: {other} answers in its place").format(
                    run=default, file=missing[0], other=other
                ),
                err=True,
            )
        pair.append(other or info["run"])
    return pair


def _load(data: str, names: list[str]) -> dict:
    from dogpoc import inference

    return {name: inference.load_classifier(data, name) for name in names}


def _photo_files(given: list[Path]) -> list[Path]:
    """The files that were named, and for a folder every file in it, below it too, but hidden ones."""
    files = []
    for path in given:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file())
            files += [file for file in inside if not any(p.startswith(".") for p in file.relative_to(path).parts)]
        else:
            files.append(path)
    return files


def _answer(classifiers: dict, image, top: int, confidence: float) -> dict:
    """Per run, the `top` likeliest breeds with their probabilities, and the set of breeds."""
    from dogpoc import doubt

    runs, sets = {}, {}
    for name, classifier in classifiers.items():
        fitted = classifier.info.get("doubt")
        found = doubt.opinion(classifier.logits([image])[0], fitted and doubt.from_plain(fitted), confidence)
        names = [classifier.breeds[i] for i in found.breeds]
        pairs = zip(names[:top], found.probs, strict=False)
        runs[name] = [{"breed": breed, "probability": round(float(p), 6)} for breed, p in pairs]
        likely = None if found.likely is None else names[: found.likely]
        sets[name] = {"confidence": confidence, "breeds": likely, "strange": found.strange}
    return {"runs": runs, "sets": sets}


def _print_csv(answers: list[dict]) -> None:
    import csv

    from dogpoc.photo import no_formula

    table = csv.writer(sys.stdout, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    table.writerow(["photo", "run", "breed", "probability", "set", "strange"])
    for answer in answers:
        for run, (first, *_others) in answer["runs"].items():
            found = answer["sets"][run]
            names = "" if found["breeds"] is None else " ".join(found["breeds"])
            answered = (run, first["breed"], first["probability"], names, found["strange"])
            table.writerow([no_formula(answer["photo"]), *answered])


def _print_answers(answers: list[dict]) -> None:
    for answer in answers:
        typer.echo(answer["photo"])
        for name, breeds in answer["runs"].items():
            listed = ", ".join(f"{breed_label(b['breed'])} {percent(b['probability'])}" for b in breeds)
            typer.echo(f"  {name}: {listed}")
            found = answer["sets"][name]
            if found["breeds"] is not None:
                words = ", ".join(map(breed_label, found["breeds"][:10])) + (", …" if len(found["breeds"]) > 10 else "")
                strange = _("; unlike the photos that it was taught") if found["strange"] else ""
                share = percent(found["confidence"], 0)
                typer.echo(
                    "    "
                    + _("with {confidence} confidence: {breeds}").format(confidence=share, breeds=words)
                    + strange
                )


@app.command()
def explain(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO")],
    run: Annotated[str, typer.Option(help="Run whose answer is explained.")],
    method: Annotated[
        str, typer.Option(help="attention, rollout, relevance, gradcam, integrated-gradients or occlusion.")
    ],
    out: Annotated[Path, typer.Option(help="map.npy (the map's own grid) or overlay.png.")],
    data: Data = "dogs47",
    breed: Annotated[str | None, typer.Option(help="Breed to explain; by default the run's answer.")] = None,
    against: Annotated[str | None, typer.Option(help="Explain why BREED and not this one.")] = None,
) -> None:
    """Write a map of what in a photo speaks for a breed, or for one breed and against another."""
    from dogpoc.photo import read_photo

    if out.suffix not in (".npy", ".png"):
        raise DogpocError(_("'{file}' must end in .npy or .png").format(file=out.name))
    image = read_photo(photo.read_bytes())
    info = artifacts.read_run(data, run)
    chosen, other = (name and _find_breed(name, info["breeds"]) for name in (breed, against))
    from dogpoc import explanation, inference

    classifier = inference.load_classifier(data, run)
    probs = metrics.softmax(classifier.logits([image]))[0]
    answer = classifier.breeds[probs.argmax()]
    index, rival = (name and classifier.breeds.index(name) for name in (chosen or answer, other))
    values = explanation.explain(classifier, image, method, index, rival)
    artifacts.write_atomically(out, _map_file(values, classifier, image, out.suffix))
    if method in explanation.SAME_FOR_ALL_BREEDS and (breed or against):
        typer.echo(_("{method} is the same for every breed").format(method=method), err=True)
    typer.echo(
        _("{run}: {breed} {probability}; {method}, {rows} x {columns}: {file}").format(
            run=run,
            breed=breed_label(answer),
            probability=percent(float(probs.max())),
            method=method,
            rows=values.shape[0],
            columns=values.shape[1],
            file=out,
        )
    )


def _find_breed(name: str, breeds: list[str]) -> str:
    """The breed called `name`, as the data or as a reader writes it."""
    from difflib import get_close_matches

    written = {label.casefold(): breed for breed in breeds for label in (breed, breed_label(breed))}
    if name.casefold() in written:
        return written[name.casefold()]
    close = get_close_matches(name.casefold(), written, n=1)
    hint = _("Did you mean '{name}'?").format(name=written[close[0]]) if close else ""
    message = _("the run knows no breed '{breed}', only {n} others. {hint}")
    raise DogpocError(message.format(breed=name[:100], n=len(breeds), hint=hint).strip())


def _map_file(values, classifier, image, suffix: str) -> bytes:
    """A map as NumPy file, or drawn over the part of the photo that the model sees, as PNG."""
    import io
    from dataclasses import replace

    import numpy as np
    from PIL import Image

    from dogpoc import explanation, inference

    file = io.BytesIO()
    if suffix == ".npy":
        np.save(file, values, allow_pickle=False)
    else:
        seen = inference.preprocess(image, replace(classifier.preprocessing, size=448))
        Image.fromarray(explanation.overlay(seen, values)).save(file, "PNG")
    return file.getvalue()


@app.command()
def explain_benchmark(
    data: Data = "dogs47",
    runs: Annotated[str | None, typer.Option(help="Runs, with commas; by default the dataset's two.")] = None,
    photos: Annotated[int, typer.Option(min=4, help="Test photos, drawn with a fixed seed.")] = 240,
) -> None:
    """Measure how faithful each method's explanations of a run are, and store the numbers. Resumes if stopped."""
    from dogpoc import faithfulness

    names = [name.strip() for name in runs.split(",")] if runs else list(artifacts.default_pair(data))
    for name in names:
        artifacts.read_run(data, name)
    from dogpoc import benchmark

    for name in names:
        record = benchmark.explain_benchmark(data, name, photos=photos, command=command_line(), progress=True)
        typer.echo(_("{run}: {photos} test photos").format(run=name, photos=number(len(record["photos"]))))
        _print_explanations(faithfulness.summarise(record))


@app.command()
def imagine(run: str, data: Data = "dogs47") -> None:
    """Let a run draw what it expects each of its breeds to look like. Resumes if stopped."""
    artifacts.read_run(data, run)
    from dogpoc import imagination

    info = imagination.store_pictures(data, run, progress=True)
    path = artifacts.run_folder(data, run) / artifacts.PICTURES
    typer.echo(_("pictures of {n} breeds: {path}").format(n=len(info["breeds"]), path=path))


@app.command()
def tune(
    method: str,
    data: Data = "dogs47",
    trials: Annotated[int, typer.Option(min=1, help="Trials at the end, by all machines together.")] = 40,
    storage: Annotated[
        str | None, typer.Option(help="URL of a database that several machines share; by default a file.")
    ] = None,
) -> None:
    """Search the learning rate, weight decay and dropout of a method's head (Optuna, Hyperband). Resumes if stopped."""
    from dogpoc.methods import find_method

    found = find_method(method)
    artifacts.read_dataset(data)
    from dogpoc import tuning

    record = tuning.tune(found, data, trials=trials, storage=storage, command=command_line(), progress=True)
    ended = len(record["trials"])
    stopped = sum(trial["pruned"] for trial in record["trials"])
    typer.echo(_("{n} trials, {stopped} of them stopped early").format(n=ended, stopped=stopped))
    best = next((trial for trial in record["trials"] if trial["number"] == record["best"]), None)
    if best:
        words = ", ".join(f"{name} {value:.3g}" for name, value in best["params"].items())
        typer.echo(
            _("best: trial {n}, validation loss {loss}: {params}").format(
                n=best["number"], loss=number(min(best["losses"].values()), 4), params=words
            )
        )


@app.command()
def fixres(
    run: str,
    data: Data = "dogs47",
    sizes: Annotated[str | None, typer.Option(help="Pixels along a side, with commas; by default 128 to 320.")] = None,
) -> None:
    """Measure a run at each pair of train and test resolution, and with several views of each photo."""
    artifacts.read_run(data, run)
    from dogpoc import fixres as grid

    try:
        asked = [int(size) for size in sizes.split(",")] if sizes else grid.SIZES
    except ValueError:
        raise DogpocError(
            _("--sizes are whole numbers with commas, such as 160,224; got {sizes}").format(sizes=sizes)
        ) from None
    if not all(32 <= size <= 1024 for size in asked):
        raise DogpocError(_("--sizes are between 32 and 1024 pixels; got {sizes}").format(sizes=sizes))
    record = grid.fill_grid(data, run, asked, command=command_line(), progress=True)
    _print_sizes(record)


def _print_sizes(record: dict) -> None:
    from tabulate import tabulate

    def row(name: object, right: list[int]) -> dict:
        shares = [percent(n / record["photos"]) for n in right]
        return {_("trained at"): name, **dict(zip(map(str, record["sizes"]), shares, strict=True))}

    rows = [row(size, right) for size, right in zip(record["sizes"], record["grid"], strict=True)]
    if record["with_norm"]:
        rows.append(row(_("the test size, with the norm"), record["with_norm"]))
    typer.echo(tabulate([row(_("as it is"), record["as_trained"]), *rows], headers="keys"))
    for kind, found in record["views"].items():
        typer.echo(
            _("{kind}: {share}, {passes} passes a photo, {speed} photos/s").format(
                kind=kind,
                share=percent(found["right"] / record["photos"]),
                passes=found["passes"],
                speed=number(found["photos_per_second"], 1),
            )
        )


def _print_explanations(rows: list[dict]) -> None:
    from tabulate import tabulate

    def cell(value: tuple | None, digits: int = 3) -> str:
        return "" if value is None else f"{value[0]:.{digits}f} [{value[1]:.{digits}f}, {value[2]:.{digits}f}]"

    shown = [
        {
            _("method"): row["method"],
            _("insertion"): cell(row["insertion"]),
            _("deletion"): cell(row["deletion"]),
            _("gain on random"): cell(row["gain_random"]),
            _("on the centre"): cell(row["gain_centre"]),
            _("on attention"): cell(row["gain_attention"]),
            _("right tile"): cell(row["tile"], 2),
            _("in the box"): cell(row["energy"], 2),
            _("weights shuffled"): cell(row["randomised"], 2),
        }
        for row in rows
    ]
    typer.echo(tabulate(shown, headers="keys", disable_numparse=True))


@app.command()
def verify() -> None:
    """Check every stored artifact and recompute every number from the logits. Exit code 1 if anything differs."""
    differs, sound = 0, _("sound")
    for what, problem in artifacts.verify():
        differs += problem is not None
        typer.echo(f"{what}: {problem or sound}", err=problem is not None)
    if differs:
        raise typer.Exit(1)


def main() -> None:
    """Run the command; an expected failure is one line and exit code 2."""
    try:
        app()
    except DogpocError as error:
        typer.echo(f"dogpoc: {error}", err=True)
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be read
        typer.echo(f"dogpoc: {error.strerror or error}: {error.filename or ''}".rstrip(": "), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
