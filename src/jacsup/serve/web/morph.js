// A morph: the decoded faces between the photo that is shown and another one.

import { byId, latest, save, say, saying, showBlob } from "./view.js";

// send opens a photo on the server; picture requests an image from the shown photo and another one.
export function morphing(send, picture, stem) {
  let other = null, wanted = 0;
  const figure = byId("morph"), share = byId("share");
  const show = latest(figure, async () => {
    const into = other, blob = into && await picture("morph", { share: Number(share.value) }, into);
    if (!blob || into !== other) return;
    showBlob(byId("morphed"), blob);
    byId("morphed").alt = `The decoded face, ${Math.round(100 * share.value)} % of the way to the other`;
    figure.hidden = false;
  });
  function end() {
    wanted++;
    other = null;
    figure.hidden = true;
  }
  async function into(photo) {
    end();
    const mine = wanted;
    try {
      const { session } = await send(photo);
      if (mine !== wanted) return;
      other = { ...photo, session };
      say("");
      show();
    } catch (error) {
      say(error.message, true);
    }
  }
  share.addEventListener("input", show);
  byId("morph-end").addEventListener("click", () => { end(); byId("morph-photo").focus(); });
  byId("morph-animate").addEventListener("click", () => saying("Drawing the animation …", async () => {
    const blob = await picture("morph-animation", {}, other);
    if (blob) save(blob, `${stem()}-morph.gif`);
  }));
  return { into, end, update: () => { if (other) show(); } };
}
