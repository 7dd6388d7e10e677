"""/upload: a visitor's own photo, and what both runs say about it."""

import pandas as pd
import streamlit as st

from dogpoc import DogpocError, artifacts
from dogpoc.photo import no_formula, read_photo, thumbnail
from dogpoc.translation import _, breed_label
from pages import shared
from pages.live import alike, answering, answers, cropping, fragility, pasting, samples
from pages.live.samples import Sample

shared.through_app()

SHOWN = 480  # pixels, longer side, of the photo
MOST_PHOTOS = 50  # of one visitor at a time
BATCH = "python -m dogpoc predict FOLDER --csv"


def answer(data: bytes, part: cropping.Part) -> dict:
    """Both runs' answers to a part of the photo in a file's bytes, as they are kept for the session: small pictures,
    no photo. firm: whether it is to be tested how firm they are. Raises PhotoError."""
    image = answering.in_turn(read_photo, data)
    asked = cropping.cut(image, part)
    given, lines = {}, []
    for role in shared.ROLE:
        try:
            run, line = answering.able_run(shared.dataset(), shared.run(role))
            if line:
                lines.append(("info", line))
            if run and run not in [answer.run for answer in given.values()]:
                model = answering.classifier(shared.dataset(), run)
                given[role] = answering.in_turn(answering.answer, run, model, asked)
        except DogpocError as error:  # of this run; the other one still answers
            lines.append(("error", str(error)))
    small = thumbnail(image, SHOWN)
    return {"photo": small, "size": image.size, "part": part, "answers": given, "lines": lines, "firm": False}


def kept_answers(photos: dict) -> dict[str, dict | str]:
    """file id -> what `answer` gives for it, or one line that says why not; kept for the session."""
    asked = (shared.dataset(), shared.baseline(), shared.new())
    before = st.session_state.get("upload-answers", {})
    known = before["photos"] if before.get("asked") == asked else {}
    known = {
        key: found for key, found in known.items() if isinstance(found, str) or found["part"] == cropping.part_of(key)
    }
    bar = st.progress(0.0, _("Looking …")) if len(photos) > 1 and photos.keys() - known.keys() else None
    kept = {}
    for n, (key, file) in enumerate(photos.items(), start=1):
        if key not in known:
            with st.spinner(_("Looking …")):
                known = known | {key: _answered(bytes_of(file), cropping.part_of(key))}
        kept[key] = known[key]
        if bar:
            bar.progress(n / len(photos), _("{n} of {photos} photos").format(n=n, photos=len(photos)))
    if bar:
        bar.empty()
    st.session_state["upload-answers"] = {"asked": asked, "photos": kept}
    return kept


def _answered(data: bytes, part: cropping.Part) -> dict | str:
    try:
        return answer(data, part)
    except DogpocError as error:
        return str(error)


def bytes_of(file) -> bytes:
    """The bytes of an uploaded file or a sample."""
    return file.data if isinstance(file, Sample) else file.getvalue()


def chosen_photo(keys: list[str], names: dict[str, str]) -> str:
    """Which of several photos is shown in full: the newest one, unless another is chosen."""
    if len(keys) == 1:
        return keys[0]
    labels = {key: f"{n} · {names[key]}" for n, key in enumerate(keys, start=1)}  # phones call all photos image.jpg
    return st.selectbox(_("Photo in full"), keys[::-1], format_func=labels.get, key="upload-chosen")


def show_photo(key: str, kept: dict, file) -> None:
    """One photo, the sentence about it, both runs' answers, and what else can be asked about it."""
    for kind, line in kept["lines"]:
        {"info": st.info, "error": st.error}[kind](line)
    photo, said = st.columns([1, 2])
    with photo:
        cropping.show(key, kept["photo"], kept["size"])
    given = kept["answers"]
    if not given:
        return
    with said:
        st.markdown(f"### {answers.verdict(given)}")
        if max(answer.probs[0] for answer in given.values()) < answers.UNSURE:
            st.caption(_("No answer is sure: it may be a breed that the models do not know, or no dog."))
        confidence = answers.choose_confidence(given)
        if isinstance(file, Sample):
            show_origin(file)
    for column, (role, answer) in zip(st.columns(2, gap="large"), given.items(), strict=False):
        with column:
            answers.show(role, answer, confidence)
    show_fragility(key, kept, file)
    try:
        alike.show(kept)
    except DogpocError as error:
        st.error(str(error))


def show_origin(sample: Sample) -> None:
    """What a sample is; for a test photo with the way to its explanation."""
    st.caption(sample.words)
    if sample.photo:
        shared.why_link(sample.photo)


def show_fragility(key: str, kept: dict, file) -> None:
    """On request: the same photo in other circumstances."""
    st.subheader(_("How firm are these answers?"))
    if not kept["firm"]:
        st.caption(_("The same photo mirrored, darker, blurred, turned, cropped, poorly compressed and grey."))
        label = _("Test how sure they are")
        st.button(
            label, key=f"fragility-{key}", icon=":material/science:", on_click=kept.update, args=({"firm": True},)
        )
        return
    if "variants" not in kept:
        try:
            with st.spinner(_("Looking …")):
                image = cropping.cut(answering.in_turn(read_photo, bytes_of(file)), kept["part"])
                kept["variants"] = fragility.ask(image, kept["answers"])
        except DogpocError as error:
            st.error(str(error))
            return
    fragility.show(kept["variants"], kept["answers"])


def show_batch(kept: dict[str, dict | str], names: dict[str, str]) -> None:
    """All photos as a table: both runs' breed, probability, set at 90 % and whether it is strange; also as CSV."""
    rows = []
    for key, found in kept.items():
        row = {"photo": names[key], "problem": found if isinstance(found, str) else ""}
        for role, answer in {} if isinstance(found, str) else found["answers"].items():
            row |= {
                f"{role}_breed": breed_label(answer.breeds[0]),
                f"{role}_probability": round(float(answer.probs[0]), 4),
                f"{role}_set": ", ".join(map(breed_label, answer.breeds[: answer.likely[0.9]]))
                if answer.likely
                else "",
                f"{role}_strange": answer.strange,
            }
        rows.append(row)
    table = pd.DataFrame(rows)
    st.subheader(_("All {n} photos").format(n=len(kept)))
    st.dataframe(table, hide_index=True, key="batch", alt=_("All photos with both runs' answers"))
    shared.download(table.assign(photo=table["photo"].map(no_formula)), "photos")


def chosen_files() -> list:
    """What the visitor has uploaded, or taken with the camera."""
    if st.toggle(_("Use the camera"), key="upload-camera"):
        taken = st.camera_input(_("Camera"))
        return [taken] if taken else []
    files = st.file_uploader(_("Photo"), key="upload-photo", accept_multiple_files=True)
    pasting.listen()
    return files


st.title(_("Which breed does it look like?"))
try:
    breeds = len(artifacts.read_run(shared.dataset(), shared.new())["breeds"])
    st.write(_("Both runs look at your photo of a dog. They know {n} breeds and can name no other.").format(n=breeds))
except DogpocError as error:
    st.error(str(error))

files = chosen_files()
st.caption(
    _(
        "Your photo is not stored: it is read in memory, its place and device data are dropped, "
        "and it is gone when you leave."
    )
)
sample = None if files else samples.asked()
photos = {file.file_id: file for file in files[-MOST_PHOTOS:]} or ({sample.key: sample} if sample else {})
cropping.forget(photos.keys())
if len(files) > MOST_PHOTOS:
    st.warning(_("The last {n} photos are looked at; for more, run: `{command}`").format(n=MOST_PHOTOS, command=BATCH))
if not photos:
    st.session_state.pop("upload-answers", None)
    st.info(
        _("Choose a photo, drop one here or paste one (Ctrl+V): the dog in the middle, as large as possible."),
        icon=":material/pets:",
    )
else:
    kept = kept_answers(photos)
    names = {key: file.key if isinstance(file, Sample) else file.name for key, file in photos.items()}
    for key, found in kept.items():
        if isinstance(found, str):
            name = f"{shared.plain(names[key])}: " if len(kept) > 1 else ""
            st.error(name + found, icon=":material/broken_image:")
    answered = {key: found for key, found in kept.items() if not isinstance(found, str)}
    if answered:
        chosen = chosen_photo([*answered], names)
        show_photo(chosen, answered[chosen], photos[chosen])
    if len(kept) > 1:
        show_batch(kept, names)
