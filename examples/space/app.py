"""The editor as a Gradio app, to publish as a Hugging Face Space. The variable MODEL is what `jacsup.load` takes."""

import os

import gradio as gr

import jacsup
from jacsup.edit import DETAIL

editor = jacsup.Editor(os.environ.get("MODEL", "faces"))
align = os.environ.get("ALIGN", "0") == "1"  # for models of aligned photographs
names = [name for name, factor in editor.factors.items() if factor.learned]
ranges = {name: (round(low - 0.05, 1), round(high + 0.05, 1)) for name in names for low, high in [editor.reach(name)]}


def opened(photo):
    """Return the opened photo and its slider positions; errors are raised as Gradio's, the only kind it shows."""
    try:
        face = editor.open(photo, align=align)
    except ValueError as error:
        raise gr.Error(str(error)) from None
    own = editor.read(face).items()
    return face, {name: round(min(max(value, ranges[name][0]), ranges[name][1]), 2) for name, value in own}


def edit(photo, detail, *values):
    """Return the photo with the attributes whose sliders were moved."""
    if photo is None:
        return None
    face, own = opened(photo)
    moved = {name: value for (name, at), value in zip(own.items(), values, strict=True) if abs(value - at) > 0.05}
    return editor.render(face, moved, detail=detail)


with gr.Blocks(title="jacsup") as app:
    with gr.Row():
        photo, result = gr.Image(type="pil", label="Photo"), gr.Image(type="pil", label="Edited")
    detail, sliders = gr.Slider(0, 1, DETAIL, label="Preserve detail"), []
    for first in range(0, len(names), 4):
        with gr.Row():
            row = names[first : first + 4]
            sliders += [gr.Slider(*ranges[name], 0, label=name.replace("_", " "), buttons=[]) for name in row]
    photo.upload(lambda photo: [photo, *opened(photo)[1].values()], photo, [result, *sliders])
    for slider in (detail, *sliders):
        slider.input(edit, [photo, detail, *sliders], result, trigger_mode="always_last")

if __name__ == "__main__":
    app.launch()
