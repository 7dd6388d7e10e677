"""The command line: a thin shell over the modules of this package. python -m dogpoc --help"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dogpoc import DogpocError, artifacts, metrics
from dogpoc.translation import _, breed_label, number, percent

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
            command=f"python -m dogpoc evaluate {run} --data {data}",
        )
    )


@app.command()
def evaluate(run: str, data: Data) -> None:
    """Store a run's logits and numbers for the validation and test photos of a dataset that shares its breeds."""
    artifacts.read_photos(data)
    from dogpoc import inference

    info = inference.evaluate(run, data, command=command_line(), progress=True)
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

    result = comparison.compare(artifacts.read_evaluation(data, baseline), artifacts.read_evaluation(data, new))
    if as_json:
        typer.echo(json.dumps(comparison.as_json(result), indent=1))
    else:
        typer.echo(comparison.verdict(result))
        typer.echo(comparison.caveat())


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...")],
    data: Data = "dogs47",
    baseline: Annotated[str | None, typer.Option(help="Run; by default the dataset's baseline.")] = None,
    new: Annotated[str | None, typer.Option(help="Run; by default the dataset's new method.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many breeds to print.")] = 5,
    as_json: Json = False,
) -> None:
    """Print the most likely breeds of each photo, from both runs. Exit code 2 if a file is not a photo."""
    from dogpoc.photo import PhotoError, read_photo

    answers, classifiers, failed = [], {}, False
    for path in photos:
        try:
            image = read_photo(path.read_bytes())
        except (PhotoError, OSError) as error:
            failed = True
            typer.echo(f"dogpoc: {path}: {error if isinstance(error, PhotoError) else error.strerror}", err=True)
        else:
            classifiers = classifiers or _load(data, _runnable_pair(data, baseline, new))
            breeds = {run: _likeliest(classifier, image, top) for run, classifier in classifiers.items()}
            answers.append({"photo": str(path), "runs": breeds})
    if as_json:
        typer.echo(json.dumps(answers, indent=1))
    else:
        _print_answers(answers)
    if failed:
        raise typer.Exit(2)


def _runnable_pair(data: str, baseline: str | None, new: str | None) -> list[str]:
    """The two runs to ask; where a default one cannot answer on this machine, its stand-in, announced."""
    pair = []
    for asked, default in zip((baseline, new), artifacts.default_pair(data), strict=True):
        info = artifacts.read_run(data, asked or default)
        other = artifacts.stand_in(info) if not asked and artifacts.missing_backbone(info) else None
        if other:
            typer.echo(
                _("{run} needs {file}, which is not on this machine: {other} answers in its place").format(
                    run=default, file=artifacts.missing_backbone(info), other=other
                ),
                err=True,
            )
        pair.append(other or info["run"])
    return pair


def _load(data: str, names: list[str]) -> dict:
    from dogpoc import inference

    return {name: inference.load_classifier(data, name) for name in names}


def _likeliest(classifier, image, top: int) -> list[dict]:
    """The `top` likeliest breeds with their probabilities, likeliest first."""
    probs = metrics.softmax(classifier.logits([image]))[0]
    order = (-probs).argsort(kind="stable")[:top]
    return [{"breed": classifier.breeds[i], "probability": round(float(probs[i]), 6)} for i in order]


def _print_answers(answers: list[dict]) -> None:
    for answer in answers:
        typer.echo(answer["photo"])
        for name, breeds in answer["runs"].items():
            listed = ", ".join(f"{breed_label(b['breed'])} {percent(b['probability'])}" for b in breeds)
            typer.echo(f"  {name}: {listed}")


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
