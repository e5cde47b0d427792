// The editor's page: that of a model of attributes, or that of an ordered code.

import { ask, byId } from "./view.js";

const model = await (await ask("model")).json();
byId("model-name").textContent = model.name;
document.title = `${model.name} · jacsup editor`;
addEventListener("hashchange", () => location.reload());
const link = new URLSearchParams(location.hash.slice(1));
// Only the files of one editor are loaded.
if (model.kind === "attributes") (await import("./photos.js")).editPhotos(model, link);
else (await import("./units.js")).moveUnits(model, link);
