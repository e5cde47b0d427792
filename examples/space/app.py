"""The editor as a Gradio app, to be published as a Hugging Face Space. MODEL: what `jacsup.load` takes."""

import os

import gradio as gr

import jacsup

editor = jacsup.Editor(os.environ.get("MODEL", "faces"))
align = os.environ.get("ALIGN", "0") == "1"  # for models of aligned photographs
names = [name for name, factor in editor.factors.items() if factor.learned]


def read(photo):
    """Every slider to the photo's own strength."""
    return [photo, *(round(value, 2) for value in editor.read(editor.open(photo, align=align)).values())]


def edit(photo, detail, *values):
    """The photo with the attributes that have been moved away from their own strengths."""
    face = editor.open(photo, align=align)
    own = editor.read(face)
    moved = {name: value for name, value in zip(names, values, strict=True) if abs(value - own[name]) > 0.02}
    return editor.render(face, moved, detail=detail)


with gr.Blocks(title="jacsup") as app:
    with gr.Row():
        photo, result = gr.Image(type="pil", label="Photo"), gr.Image(type="pil", label="Edited")
    detail = gr.Slider(0, 1, 0.5, label="Own detail kept")
    sliders = []
    for first in range(0, len(names), 4):
        with gr.Row():
            labels = [name.replace("_", " ") for name in names[first : first + 4]]
            sliders += [gr.Slider(-3, 3, 0, step=0.05, label=label) for label in labels]
    photo.upload(read, photo, [result, *sliders])
    for slider in (detail, *sliders):
        slider.release(edit, [photo, detail, *sliders], result)

if __name__ == "__main__":
    app.launch()
