// The editor's page: that of a model of attributes, or that of an ordered code.

import { editPhotos } from "./photos.js";
import { moveUnits } from "./units.js";
import { ask, byId } from "./view.js";

const model = await (await ask("model")).json();
byId("model-name").textContent = model.name;
document.title = `${model.name} · jacsup editor`;
addEventListener("hashchange", () => location.reload());
(model.kind === "attributes" ? editPhotos : moveUnits)(model, new URLSearchParams(location.hash.slice(1)));
