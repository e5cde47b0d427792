// A map over the picture of what an edit has changed.

const LONGEST_SIDE = 192;
// The change of a colour, from 0 to 255, at which the map is opaque.
const FULL_CHANGE = 80;
const COLOUR = [255, 90, 0];

// Draws the map of two images of equal size, which must have loaded, on a canvas.
export function drawChange(original, result, canvas) {
  const scale = LONGEST_SIDE / Math.max(original.naturalWidth, original.naturalHeight);
  canvas.width = Math.round(original.naturalWidth * scale);
  canvas.height = Math.round(original.naturalHeight * scale);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const [before, after] = [original, result].map((image) => {
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  });
  for (let at = 0; at < after.data.length; at += 4) {
    let change = 0;
    for (let colour = 0; colour < 3; colour++) change = Math.max(change, Math.abs(after.data[at + colour] - before.data[at + colour]));
    after.data.set([...COLOUR, 255 * Math.min(1, change / FULL_CHANGE)], at);
  }
  context.putImageData(after, 0, 0);
}
