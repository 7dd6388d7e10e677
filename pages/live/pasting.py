"""A photo pasted from the clipboard: Streamlit's uploader takes chosen and dropped files only."""

import streamlit as st

# Hands a pasted picture to the uploader as if it had been chosen there: limits and checks are the uploader's own.
SCRIPT = """
export default function () {
    const paste = (event) => {
        const pictures = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
        const input = document.querySelector("[data-testid=stFileUploader] input[type=file]");
        if (!input || !pictures.length) return;
        const files = new DataTransfer();
        pictures.forEach((file) => files.items.add(file));
        input.files = files.files;
        input.dispatchEvent(new Event("change", { bubbles: true }));
        event.preventDefault();
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
}
"""


def listen() -> None:
    """Let Ctrl+V on this page upload the picture in the clipboard."""
    st.components.v2.component("dogpoc_paste", js=SCRIPT)(key="upload-paste")
