"""The slides of the story page, in the order of the talk. All numbers come from the stored runs."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from dogpoc import artifacts, comparison, figures, metrics
from dogpoc.methods import METHODS, Method
from dogpoc.photo import PhotoError, read_photo
from dogpoc.translation import _, breed_label, number, percent, points, translated
from pages import shared
from pages.sections import photos as photos_section
from pages.sections import verdict

SIDE = 448  # pixels, both sides, of the photo cut into patches
WORST = 6  # breeds
DEFAULT_PATCH = 16  # pixels along a side, where a network's name does not tell


def titles() -> dict[str, str]:
    """Slide -> its title, in the order of the talk and in the language in use."""
    return {
        "subject": _("Is the new method better at naming dogs?"),
        "photos": _("The photos"),
        "baseline": _("The baseline"),
        "new": _("The new method"),
        "settings": _("What both had in common"),
        "results": _("The result"),
        "worst": _("Where they fail"),
        "studies": _("Earlier studies, beside ours"),
        "conclusions": _("What follows"),
        "outlook": _("What comes next"),
    }


def show(name: str, dataset: str) -> None:
    """One slide. Raises ArtifactError, ComparisonError."""
    runs = {role: shared.answers(dataset, shared.run(role)) for role in shared.ROLE}
    drawn: dict[str, Callable] = {
        "subject": _subject,
        "photos": _photos,
        "baseline": lambda runs: _method(runs, "baseline"),
        "new": _new,
        "settings": _settings,
        "results": _results,
        "worst": _worst,
        "studies": _studies,
        "conclusions": _conclusions,
        "outlook": _outlook,
    }
    drawn[name](runs)


def _info(runs: dict[str, shared.Answers], role: str) -> dict:
    return runs[role].evaluation.info


def _compared() -> comparison.Comparison:
    return shared.compared(shared.dataset(), shared.baseline(), shared.new())


# -- subject and photos -------------------------------------------------------------------------------------------


def _subject(runs: dict[str, shared.Answers]) -> None:
    stored = runs["new"].evaluation
    st.markdown(
        _(
            "Two ways to see: a convolutional network looks through small windows, layer by layer; a vision "
            "transformer cuts the photo into patches and lets each patch look at all others. Here two runs name the "
            "breed in the same **{photos} test photos** of **{breeds} breeds**; their training left these photos out."
        ).format(photos=number(len(stored.true)), breeds=len(stored.breeds))
    )
    for role in shared.ROLE:
        info = _info(runs, role)
        st.markdown(f"{shared.MARK[role]} **{shared.role_name(role)}: {info['run']}** — {shared.method_summary(info)}")
    st.markdown(_("The question: is a difference between them real, where does it lie, and what does it cost?"))


def _photos(runs: dict[str, shared.Answers]) -> None:
    dataset = shared.dataset()
    table = artifacts.read_photos(dataset)
    st.markdown(photos_section.split_words(table, artifacts.read_dataset(dataset)))
    counts = photos_section.counts_per_breed(table)
    takeaway = photos_section.breeds_takeaway(counts)
    shared.figure(shared.drawn(figures.photos_per_breed, counts), takeaway, counts.reset_index(), "photos-per-breed")
    sizes = table[["width", "height"]].drop_duplicates()
    if len(sizes) > 1:
        st.caption(photos_section.sizes_takeaway(table))
    st.markdown(_hard_words(runs))
    shared.contamination_note(dataset, shared.baseline(), shared.new())


def _hard_words(runs: dict[str, shared.Answers]) -> str:
    """The pair that both runs together confuse most."""
    counts = sum(given.counts for given in runs.values())
    wrong = counts - np.diag(counts.diagonal())
    breeds = runs["new"].evaluation.breeds
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    if not wrong[i, j]:
        return _("Neither run makes a mistake on these photos.")
    return _(
        "What makes it hard: look-alikes. The two runs together take {true} for {predicted} {n} times; some photos "
        "show puppies, several dogs, a costume, or a label that may be wrong."
    ).format(true=f"**{breed_label(breeds[i])}**", predicted=f"**{breed_label(breeds[j])}**", n=wrong[i, j])


# -- the two methods ----------------------------------------------------------------------------------------------


def _method(runs: dict[str, shared.Answers], role: str) -> None:
    info, numbers = _info(runs, role), shared.numbers(runs[role])
    st.markdown(f"#### {shared.MARK[role]} {info['run']}")
    st.markdown(shared.method_summary(info))
    if info["method"].get("source"):
        st.caption(_("After {source}.").format(source=info["method"]["source"]))
    cells = st.columns(3, border=True)
    cells[0].metric(_("top-1 accuracy"), percent(numbers["top1_accuracy"]))
    cells[0].caption(shared.interval(numbers["top1_accuracy_low"], numbers["top1_accuracy_high"]))
    cells[1].metric(_("photos a second"), number(info["photos_per_second"], 0))
    cells[1].caption(_("on {hardware}").format(hardware=shared.hardware(info, "evaluate")))
    cells[2].metric(_("training, s"), number(info["train_seconds"], 0))
    cells[2].caption(_("on {hardware}").format(hardware=shared.hardware(info, "train")))


def _new(runs: dict[str, shared.Answers]) -> None:
    _method(runs, "new")
    info = _info(runs, "new")
    if "vit" not in str(info["method"]["backbone"]["model"]):
        return
    size = info["preprocessing"]["size"]
    named = re.search(r"patch(\d+)", info["method"]["backbone"]["model"])
    patch = int(named.group(1)) if named else DEFAULT_PATCH
    cells = size // patch
    st.subheader(_("How a vision transformer works"))
    picture, words = st.columns([2, 3], gap="large", vertical_alignment="center")
    photo = _photo_at_hand(runs["new"])
    with words:
        st.markdown(
            _(
                "1. **Patches.** The photo, {size} × {size} pixels, is cut into {cells} × {cells} = {n} patches; the "
                "{values} numbers of each become one token, and a class token joins them.\n"
                "2. **Encoder.** In each layer every token asks all others what they hold (attention) and then works "
                "on what it was told.\n"
                "3. **Attention** is a table of shares: how much each token takes from each other one. Every row sums "
                "to 100 %.\n"
                "4. **Answer.** From the class token of the last layer, one linear layer gives a score for each breed."
            ).format(size=size, cells=cells, n=cells**2, values=number(3 * patch**2))
        )
        if photo is not None:
            st.page_link(
                "pages/attention.py",
                label=_("Its attention on this photo, layer by layer"),
                icon=":material/visibility:",
                query_params={"photo": photo[0]},
            )
    if photo is not None:
        picture.image(_in_patches(photo[1], cells), alt=_("A test photo, cut into patches"), width="stretch")


def _photo_at_hand(given: shared.Answers) -> tuple[str, np.ndarray] | None:
    """A test photo that the run names rightly and surely, (id, (SIDE, SIDE, 3) uint8); None without photos."""
    stored = given.evaluation
    right = np.flatnonzero(given.predicted == stored.true)
    if not len(right):
        return None
    row = int(right[given.prob(right, stored.true[right]).argmax()])
    data = shared.photo_bytes(stored.photos, row, SIDE)
    try:
        image = read_photo(data) if data else None
    except PhotoError:
        return None
    if image is None:
        shared.photos_found(stored.photos.iloc[[row]])
        return None
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return stored.photos["id"].iloc[row], np.asarray(square)


def _in_patches(pixels: np.ndarray, cells: int) -> np.ndarray:
    """The photo with gaps between its patches: (H, W, 3) uint8."""
    edges = np.linspace(0, SIDE, cells + 1).round().astype(int)
    gap = 6
    spread = np.full((SIDE + gap * (cells - 1), SIDE + gap * (cells - 1), 3), 128, np.uint8)
    for i in range(cells):
        for j in range(cells):
            part = pixels[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
            top, left = edges[i] + gap * i, edges[j] + gap * j
            spread[top : top + part.shape[0], left : left + part.shape[1]] = part
    return spread


def _settings(runs: dict[str, shared.Answers]) -> None:
    st.markdown(
        _(
            "The same photos in the same split, each model with its own input size and colours. What there was to "
            "choose (epochs, the mix of weights, the temperature) was chosen on validation photos, never on test "
            "photos."
        )
    )
    rows = {
        _("network"): lambda info: str(info["method"]["backbone"]["model"]),
        _("trained"): lambda info: _trained(info["method"]["trained"]),
        _("head on frozen features"): lambda info: _recipe(info["method"].get("probe")),
        _("all weights"): lambda info: _recipe(info["method"].get("finetune")),
        _("input, pixels"): lambda info: str(info["preprocessing"].get("size", "")),
        _("seed"): lambda info: str(info["seed"]),
        _("parameters"): lambda info: number(info["parameters"]),
        _("of these, trained"): lambda info: number(info["trained_parameters"]),
    }
    table = {"": list(rows)}
    for role in shared.ROLE:
        name = f"{shared.role_name(role)} · {shared.run(role)}"
        table[name] = [write(_info(runs, role)) for write in rows.values()]
    st.table(pd.DataFrame(table).set_index(""))
    for role in shared.ROLE:
        st.code(_info(runs, role).get("commands", {}).get("train", ""), language="bash", wrap_lines=True)


def _trained(what: str) -> str:
    return {"nothing": _("nothing"), "head": _("the head"), "everything": _("everything")}.get(what, what)


def _recipe(recipe: dict | None) -> str:
    if not recipe:
        return "–"
    return _("{epochs} epochs, batches of {batch}, {optimizer}, rate {rate}, weight decay {decay}").format(
        epochs=recipe["epochs"],
        batch=recipe["batch_size"],
        optimizer=recipe["optimizer"],
        rate=f"{recipe['learning_rate']:g}",
        decay=f"{recipe['weight_decay']:g}",
    )


# -- results ------------------------------------------------------------------------------------------------------


def _results(runs: dict[str, shared.Answers]) -> None:
    result = _compared()
    st.subheader(shared.winner_sentence(result))
    verdict.show(runs, result)


def _worst(runs: dict[str, shared.Answers]) -> None:
    for column, (role, given) in zip(st.columns(2, gap="large"), runs.items(), strict=False):
        with column:
            st.markdown(f"#### {shared.MARK[role]} {given.evaluation.run}")
            beliefs = given.mean_probs.diagonal()
            breeds = [breed for breed in np.argsort(beliefs, kind="stable") if np.isfinite(beliefs[breed])][:WORST]
            _show_worst(given, breeds)
    st.page_link("pages/worst-breeds.py", label=_("These breeds with their photos"), icon=":material/arrow_forward:")


def _show_worst(given: shared.Answers, breeds: list[int]) -> None:
    names = given.evaluation.breeds
    rows = []
    for breed in breeds:
        confusers = metrics.soft_confusers(given.mean_probs, breed)
        rows.append(
            {
                _("breed"): breed_label(names[breed]),
                _("mean probability of the true breed"): percent(float(given.mean_probs[breed, breed])),
                _("recall"): f"{given.counts[breed, breed]}/{given.counts[breed].sum()}",
                _("taken for"): ", ".join(f"{breed_label(names[j])} {percent(share)}" for j, share in confusers),
            }
        )
    st.table(pd.DataFrame(rows).set_index(_("breed")))


def _studies(runs: dict[str, shared.Answers]) -> None:
    st.markdown(
        _(
            "What earlier studies report was measured on other photos, other breeds and other splits: it stands beside "
            "our numbers, it does not compare with them. Ours are the runs that are stored here, with 95 % intervals."
        )
    )
    ours = {}
    for dataset in artifacts.datasets():
        for info in shared.readable_runs(dataset)[0]:
            name = info["method"]["name"]
            own = info["trained_on"] == dataset and "test" in info.get("metrics", {}) and "views" not in info
            if own and "-seed" not in info["run"]:
                ours.setdefault(name, []).append(_accuracy(info))
    stand_ins = {method.stands_for: name for name, method in METHODS.items() if method.stands_for}
    methods = [method for method in METHODS.values() if method.published]
    measured = [_measured(method, ours, stand_ins) for method in methods]
    table = {
        _("method"): [method.name for method in methods],
        _("published, other data"): [f"{m.published.figure()} — {translated(m.published.data)}" for m in methods],
        _("measured here"): [found or _("not run") for found in measured],
    }
    st.table(pd.DataFrame(table).set_index(_("method")))
    if not all(measured):
        st.caption(
            _(
                "What was not run trains by `python -m dogpoc train NAME`; a pretrained backbone that is not here "
                "comes from the hub."
            )
        )


def _accuracy(info: dict) -> str:
    """Top-1 on a dataset's test photos with its interval, and whether a blind guess may be as good."""
    numbers = info["metrics"]["test"]
    share, low, high = (percent(numbers[f"top1_accuracy{end}"]) for end in ("", "_low", "_high"))
    words = f"{share} [{low} – {high}] ({info['dataset']})"
    photos = artifacts.scored_photos(artifacts.read_photos(info["dataset"]), info["breeds"])
    most_frequent = photos.loc[photos["split"] == "test", "breed"].value_counts(normalize=True).max()
    blind = len(info["breeds"]) > 1 and numbers["top1_accuracy_low"] <= most_frequent
    return _("{accuracy}, not surely better than a blind guess").format(accuracy=words) if blind else words


def _measured(method: Method, ours: dict[str, list[str]], stand_ins: dict[str, str]) -> str:
    """The accuracies of a method's runs, or else of those that stand for it; "" where there are none."""
    other = stand_ins.get(method.name)
    if method.name in ours or other not in ours:
        return ", ".join(ours.get(method.name, []))
    return _("{other} in its place: {numbers}").format(other=other, numbers=", ".join(ours[other]))


def _conclusions(runs: dict[str, shared.Answers]) -> None:
    result = _compared()
    st.subheader(shared.winner_sentence(result))
    for words in (
        comparison.verdict(result),
        *(shared.guess_words(given) for given in runs.values()),
        shared.breeds_sentence(result),
        _cost_words(runs),
        _doubt_words(runs),
        comparison.caveat(),
    ):
        if words:
            st.markdown(f"- {words}")
    shared.contamination_note(shared.dataset(), shared.baseline(), shared.new())


def _cost_words(runs: dict[str, shared.Answers]) -> str:
    base, new = (_info(runs, role) for role in shared.ROLE)
    return _(
        "Cost: the new method has {size} times the baseline's parameters and answers {speed} times as many photos a "
        "second."
    ).format(
        size=number(new["parameters"] / base["parameters"], 1),
        speed=number(new["photos_per_second"] / base["photos_per_second"], 2),
    )


def _doubt_words(runs: dict[str, shared.Answers]) -> str:
    """How well each run notices breeds that it was not taught; "" where that was not measured."""
    parts = []
    for role in shared.ROLE:
        met = _info(runs, role).get("unknown", {}).get("unknown-breeds")
        if not met:
            return ""
        parts.append(
            _("{mark} {caught} (AUROC {auroc})").format(
                mark=shared.MARK[role], caught=percent(met["caught"], 0), auroc=number(met["auroc"], 2)
            )
        )
    return _("Of photos of breeds that they were never taught, they call strange: {runs}.").format(
        runs=", ".join(parts)
    )


def _outlook(runs: dict[str, shared.Answers]) -> None:
    result = _compared()
    width = result.difference_high - result.difference_low
    st.markdown(
        "- "
        + _(
            "**More photos.** The interval of the difference is {width} wide; four times as many test photos would "
            "halve it."
        ).format(width=points(width).lstrip("+"))
        + "\n- "
        + _("**Photos from elsewhere.** A test that no backbone can have seen needs more of them than there are now.")
        + "\n- "
        + _("**All 120 breeds**, by the same commands, where the official photos are.")
        + "\n- "
        + _("**Larger and hybrid networks** (ViT-B, a ViT on a CNN's stem), where there is a GPU.")
    )
    st.page_link("pages/upload.py", label=_("Try both on a photo of your own."), icon=":material/photo_camera:")
