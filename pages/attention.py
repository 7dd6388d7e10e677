"""/attention: where a vision transformer looks, and what in a photo speaks for a breed to each run."""

import pandas as pd
import streamlit as st

from dogpoc import DogpocError
from dogpoc import dataset as photo_files
from dogpoc.translation import _, breed_label
from pages import shared
from pages.live import answering, looking, reasons
from pages.sections import expectations, explanation_benchmark

shared.through_app()


def choose_test_photo(given: shared.Answers) -> tuple[tuple, bytes] | None:
    """The test photo of the URL (photo=) or of the two select boxes: what it is known by, and its bytes."""
    photos = given.evaluation.photos
    new = shared.all_answers(shared.dataset(), shared.new())
    wrong = new.predicted != new.evaluation.true
    default = new.evaluation.photos["id"].iloc[int(wrong.argmax())]  # its first mistake, or the first photo
    asked = st.query_params.get("photo", default)
    if asked not in set(photos["id"]):
        st.warning(_("There is no test photo {id}; the first mistake is shown instead.").format(id=repr(asked[:100])))
        asked = default
    breeds = sorted(photos["breed"].unique(), key=str.casefold)
    st.session_state["attention-breed"] = photos.loc[photos["id"] == asked, "breed"].iloc[0]
    st.session_state["attention-photo"] = asked
    left, right = st.columns(2)
    breed = left.selectbox(
        _("Breed"), breeds, format_func=breed_label, key="attention-breed", on_change=_other_breed, args=(photos,)
    )
    said = pd.Series(given.predicted, photos["id"])
    right.selectbox(
        _("Photo"),
        photos.loc[photos["breed"] == breed, "id"].tolist(),
        format_func=lambda photo: _photo_label(photo, breed, given.evaluation.breeds[said[photo]]),
        key="attention-photo",
        on_change=lambda: st.query_params.update(photo=st.session_state["attention-photo"]),
    )
    row = photos[photos["id"] == asked].iloc[0]
    path = photo_files.photo_paths([row["sha256"]], photos["bytes"]).get(row["sha256"])
    if path is None:
        st.info(_("This photo is not on this machine: choose another one."))
        return None
    return (row["sha256"], row["breed"]), path.read_bytes()


def _other_breed(photos: pd.DataFrame) -> None:
    st.query_params["photo"] = photos.loc[photos["breed"] == st.session_state["attention-breed"], "id"].iloc[0]


def _photo_label(photo: str, breed: str, predicted: str) -> str:
    """A photo's number, and what the run stored about it."""
    name = photo.rsplit("/", 1)[-1]
    return f"{name} · ✓" if predicted == breed else f"{name} · → {breed_label(predicted)}"


def choose_photo(run: str) -> tuple[tuple, bytes] | None:
    """The photo to look at: (what it is known by, bytes), or None while there is none. Raises ArtifactError."""
    given = shared.all_answers(shared.dataset(), run)
    ways = {"test": _("Test photo"), "upload": _("Your own")}
    found = shared.photos_found(given.evaluation.photos)
    way = st.segmented_control(
        _("Which photo"),
        list(ways),
        format_func=ways.get,
        default="test" if found else "upload",
        required=True,
        key="attention-way",
    )
    if way == "test":
        if not found:
            expectations.show()
        return choose_test_photo(given) if found else None
    upload = st.file_uploader(_("Photo"), key="attention-upload")
    return upload and ((upload.file_id, None), upload.getvalue())


def show_photo(question: str, roles: list[str]) -> None:
    """The chosen photo's explanation by the runs in `roles`. Raises DogpocError."""
    able = {}
    for role in roles:
        run, line = answering.able_run(shared.dataset(), shared.run(role))
        if line:
            st.info(line)
        if run and run not in able.values():
            able[role] = run
    chosen = choose_photo(shared.run(roles[-1]))
    if not chosen:
        st.session_state.pop("attention-kept", None)
    elif able:
        (photo, true_breed), data = chosen
        asked = (photo, shared.dataset())
        if question == "look":
            looking.show(asked, roles[0], able[roles[0]], data, true_breed)
        else:
            reasons.show(asked, able, data, true_breed)


st.title(_("Where does it look, and why this breed?"))
questions = {"look": _("Where it looks (ViT)"), "why": _("Why this breed"), "expects": _("What it expects to see")}
question = shared.choice(st.segmented_control, "view", _("Question"), questions, "look", required=True)


try:
    if question == "expects":
        expectations.show()
    elif question == "look":
        names = {role: f"{shared.role_name(role)} · {shared.run(role)}" for role in ("new", "baseline")}
        role = st.segmented_control(
            _("Run"), list(names), format_func=names.get, default="new", required=True, key="attention-role"
        )
        show_photo(question, [role])
    else:
        show_photo(question, list(shared.ROLE))
        explanation_benchmark.show()
except DogpocError as error:
    st.session_state.pop("attention-kept", None)
    st.error(str(error))
