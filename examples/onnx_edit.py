"""Edit an aligned face with only onnxruntime and NumPy (Pillow reads and writes the files).

jacsup export runs/faces -o export
python examples/onnx_edit.py export face.png Smiling=2 Eyeglasses=1.5 -o out.png
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("photo")
parser.add_argument("strengths", nargs="+")
parser.add_argument("-o", "--out", default="out.png")
given = parser.parse_args()

model = json.loads((given.folder / "model.json").read_text())
encoder, decoder = (onnxruntime.InferenceSession(given.folder / f"{name}.onnx") for name in ("encoder", "decoder"))
(_, height, width), (low, high) = model["image_shape"], model["value_range"]
pixels = np.asarray(Image.open(given.photo).convert("RGB").resize((width, height)), np.float32)
x = pixels.transpose(2, 0, 1)[None] / 255 * (high - low) + low
y, z = encoder.run(None, {"x": x})
names = [factor["name"] for factor in model["factors"]]
for name, _, strength in (text.partition("=") for text in given.strengths):
    factor = model["factors"][names.index(name)]
    half = (factor["m_plus"] - factor["m_minus"]) / 2
    y[:, names.index(name)] = factor["m_minus"] + half + float(strength) * half
(x_hat,) = decoder.run(None, {"y": y, "z": z})
edited = ((x_hat[0] - low) / (high - low)).clip(0, 1).transpose(1, 2, 0)
Image.fromarray((255 * edited).round().astype(np.uint8)).save(given.out)
