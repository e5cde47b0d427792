// The editor of photos: the strengths read from a photo, those that the user has set, and the picture that they give.

import { undoable } from "./undo.js";
import { addressOf, ask, byId, copyLink, element, fillGroups, later, latest, readable, save, say, saying, showBlob, showLink, sliderRow } from "./view.js";

const OF_PHOTOS = "jacsup serve photos";
const LOWEST_SWEPT = -3, NUM_SWEPT = 7;
const LINK_PAUSE = 300;

export function editPhotos(model, link) {
  const learned = model.factors.filter((factor) => factor.learned);
  // Replaced as a whole, so that a late answer can tell whether its photo is still shown.
  let photo = { file: null, start: null, name: "photo", aligned: false, face: 1, session: null, own: {} };
  let set = {}, locked = new Set(), swept = null, opening = 0, linking = null;
  const detail = byId("detail"), amount = byId("amount"), align = byId("align"), stage = byId("stage");
  const rows = Object.fromEntries(model.factors.map((factor) => [factor.name, sliderRow(factor, (value) => move(factor.name, value))]));
  const filter = fillGroups(model.factors, rows);
  align.checked = model.align;
  byId("attributes").hidden = false;
  if (!model.starts) byId("empty").textContent = "Drop or paste a photo here, or open one below.";
  if (model.drawn) {
    byId("note").textContent = `This model was trained on drawn faces only. For photographs, run ${OF_PHOTOS}`;
    byId("note").hidden = false;
  }
  for (const { name } of learned) if (link.get(name) && Math.abs(Number(link.get(name))) <= 100) set[name] = Number(link.get(name));
  // The asterisk keeps these apart from attributes.
  if (link.has("*detail")) detail.value = link.get("*detail");
  byId("amount-row").hidden = model.amount === null;
  amount.defaultValue = model.amount ?? 1;
  if (link.has("*amount")) amount.value = link.get("*amount");
  if (link.has("*align")) align.checked = link.get("*align") === "1";
  for (const name of link.getAll("*locked")) if (name in set) locked.add(name);

  const ofStudent = () => model.amount === null ? {} : { amount: Number(amount.value) };
  const settings = () => ({ strengths: set, detail: Number(detail.value), ...ofStudent() });
  const { note } = undoable(() => ({ ...settings(), locked: [...locked] }), (kept) => {
    set = kept.strengths;
    locked = new Set(kept.locked);
    detail.value = kept.detail;
    amount.value = kept.amount ?? amount.value;
    update();
  });

  const framing = (shown) => ({ align: Number(shown.aligned), face: shown.face, ...(shown.start === null ? {} : { start: shown.start }) });
  const send = async (shown) => (await ask(`photo?${new URLSearchParams(framing(shown))}`, shown.file ?? "")).json();
  // The server keeps a photo for ten minutes, the page for as long as it is open: an expired photo is sent again, once.
  async function picture(path, asked, other = null) {
    const shown = photo;
    const ofSession = () => ask(path, JSON.stringify({ session: shown.session, other: other?.session, ...asked, ...settings() }));
    let answer;
    try {
      answer = await ofSession();
    } catch (error) {
      if (error.status !== 410) throw error;
      for (const each of [shown, other]) if (each) each.session = (await send(each)).session;
      answer = await ofSession();
    }
    const blob = await answer.blob();
    return shown === photo ? blob : null;
  }
  const stem = (shown) => shown.name.replace(/\.[^.]*$/, "");
  let morph = null, morphs = 0, camera = null;
  async function morphInto(other) {
    const mine = ++morphs;
    try {
      const { morphing } = await later("morph.js");
      if (mine !== morphs) return;
      morph ??= morphing(send, picture, () => stem(photo));
      morph.into(other);
    } catch (error) {
      say(error.message, true);
    }
  }
  const refresh = latest(stage, async () => {
    const blob = await picture("edit", {});
    if (blob) showBlob(byId("result"), blob);
  });
  const showSweep = latest(byId("sweep"), async () => {
    const name = swept;
    if (name === null) return;
    const blob = await picture("sweep", { name });
    if (!blob || name !== swept) return;
    showBlob(byId("strip"), blob);
    byId("strip").alt = `${readable(name)} at strengths from -3 to 3`;
    byId("sweep").querySelector("figcaption span").textContent = `${readable(name)}: strengths -3, -2, -1, 0, 1, 2, 3. Click one to set it.`;
    byId("sweep").hidden = false;
  });

  // Shows the sweep below its attribute; null hides it.
  function sweepOf(name) {
    swept = name;
    byId("sweep").hidden = true;
    if (name === null) return;
    rows[name].row.after(byId("sweep"));
    showSweep();
  }

  function move(name, value) {
    if (locked.has(name)) return;
    if (value === null) delete set[name]; else set[name] = value;
    update();
  }

  // A locked attribute keeps the value that it has now, whatever is reset or copied, and on other photos too.
  function toggleLock(name) {
    if (!locked.delete(name)) {
      set[name] = values()[name].value;
      locked.add(name);
    }
    update();
  }
  // The settings of locked attributes with those of the others.
  const withLocked = (others) => Object.fromEntries([...Object.entries(others).filter(([name]) => !locked.has(name)),
    ...Object.entries(set).filter(([name]) => locked.has(name))]);

  // The value of each attribute, and what excludes it: an attribute that is switched on switches off those that it excludes.
  function values() {
    const on = learned.filter((factor) => set[factor.name] > 0);
    const off = new Map(on.flatMap((factor) => factor.mutually_exclusive.map((other) => [other, factor.name])));
    return Object.fromEntries(learned.map(({ name }) => {
      const other = name in set ? undefined : off.get(name);
      return [name, { value: set[name] ?? (other ? -1 : photo.own[name]), other }];
    }));
  }

  function update() {
    for (const [name, { value, other }] of Object.entries(values())) {
      if (value !== undefined) rows[name].set(value, name in set, other && `excluded by ${readable(other)}`, locked.has(name));
    }
    for (const slider of [detail, amount]) slider.nextElementSibling.textContent = slider.value;
    note();
    clearTimeout(linking);
    if (photo.session) {
      refresh();
      if (byId("beside").checked) showViews();
      morph?.update();
      if (swept) showSweep();
      linking = setTimeout(() => showLink(parameters()), LINK_PAUSE);
    }
  }

  function parameters() {
    const place = photo.start === null ? { "*align": Number(align.checked) } : { "*start": photo.start };
    const sharpness = model.amount === null ? {} : { "*amount": amount.value };
    const kept = [...locked].map((name) => ["*locked", name]);
    return new URLSearchParams([...Object.entries({ ...place, "*detail": detail.value, ...sharpness, ...set }), ...kept]);
  }

  const original = byId("original"), result = byId("result"), heat = byId("heat");
  async function showHeat() {
    heat.hidden = !byId("show-heat").checked || !original.naturalWidth || !result.naturalWidth;
    if (!heat.hidden) (await later("heat.js")).drawChange(original, result, heat);
  }
  for (const image of [original, result]) image.addEventListener("load", showHeat);
  byId("show-heat").addEventListener("change", showHeat);

  // The same edit side by side: as the teacher and the student decode it and, for drawn faces, as it is drawn.
  const numbers = (size) => `${size.toLocaleString("en")}\u00a0numbers`;
  const teacher = model.teacher && view(`teacher, ${numbers(model.teacher)}`, () => picture("decoded", { teacher: true }));
  const student = view(`${teacher ? "student" : "model"}, ${numbers(model.code_size)}`, () => picture("decoded", {}));
  const truth = model.drawn && view("the true drawing", () => picture("truth", { start: photo.start }));
  function view(caption, picture) {
    const image = element("img", { alt: `The edit: ${caption}` });
    return { figure: element("figure", {}, image, element("figcaption", { textContent: caption })), image, picture };
  }
  const views = () => [teacher, student, photo.start !== null && truth].filter(Boolean);
  const showViews = latest(byId("views"), async () => {
    for (const { image, picture } of views()) {
      const blob = await picture();
      if (blob) showBlob(image, blob);
    }
  });
  // Offers the comparison if there is something to compare the model's own picture with.
  function offerViews() {
    const others = [teacher && "the teacher", views().includes(truth) && "the true drawing"].filter(Boolean);
    byId("beside-label").lastElementChild.textContent = `Compare with ${others.join(" and ")}`;
    byId("beside-label").hidden = !others.length;
    byId("beside").checked &&= others.length > 0;
    byId("views").replaceChildren(...views().map(({ figure }) => figure));
    byId("views").hidden = !byId("beside").checked;
  }
  byId("beside").addEventListener("change", () => {
    offerViews();
    if (byId("beside").checked) showViews();
  });

  // How much of the picture, from the left, shows the original, in percent.
  function compare(share) {
    byId("compare").value = share;
    stage.style.setProperty("--hidden", `${share}%`);
  }

  async function open(file, name, { start = null, face = 1 } = {}) {
    camera?.leaveCamera();
    const mine = ++opening, wanted = { file, start, name, face, aligned: align.checked && start === null };
    say("Opening the photo …");
    stage.classList.add("loading");
    try {
      const opened = await send(wanted);
      const plain = await (await ask("edit", JSON.stringify({ session: opened.session, strengths: {} }))).blob();
      // A newer photo may have been opened meanwhile.
      if (mine !== opening) return;
      photo = { ...wanted, aligned: opened.aligned, session: opened.session, own: opened.strengths };
      showBlob(original, plain);
      offerViews();
      compare(0);
      const advice = model.drawn && start === null ? ` A model of photographs would do better: ${OF_PHOTOS}` : "";
      byId("warnings").textContent = opened.warnings.map((warning) => `${warning[0].toUpperCase()}${warning.slice(1)}.${advice}`).join("\n");
      offer(opened.faces);
      for (const { name } of learned) {
        rows[name].enable(true);
        rows[name].mark("own", photo.own[name], "value in this photo");
        rows[name].mark("theirs");
      }
      for (const id of ["compare", "detail", "amount", "reset", "download", "settings", "link", "like", "more", "morph-photo"]) byId(id).disabled = false;
      stage.classList.add("full");
      byId("empty").hidden = true;
      say("");
      update();
    } catch (error) {
      if (mine !== opening) return;
      if (photo.file && photo.start === null) align.checked = photo.aligned;
      say(error.message.replace(/, or pass --no-align.*/, ", or untick \"Find the face\""), true);
    } finally {
      if (mine === opening) stage.classList.remove("loading");
    }
  }

  // Says how many faces were found, and offers a choice if there are several.
  function offer(faces) {
    const found = faces.length > 1 ? `${faces.length} faces were found; choose one:` : faces.length ? "The face was found and aligned." : "";
    byId("found").textContent = found;
    byId("faces").replaceChildren(...faces.length < 2 ? [] : faces.map((src, place) => {
      const button = element("button", { type: "button" }, element("img", { src, alt: `Face ${place + 1} of the photo` }));
      button.setAttribute("aria-pressed", place + 1 === photo.face);
      const { file, name } = photo;
      button.addEventListener("click", () => open(file, name, { face: place + 1 }));
      return button;
    }));
  }

  // Reads what the button "Save settings" wrote.
  async function restore(file) {
    try {
      const saved = JSON.parse(await file.text());
      const known = learned.filter(({ name }) => Math.abs(saved.strengths[name]) <= 100);
      set = withLocked(Object.fromEntries(known.map(({ name }) => [name, Number(saved.strengths[name])])));
      detail.value = saved.detail ?? detail.defaultValue;
      say("");
      update();
    } catch {
      say("This file contains no settings; open a photo, or a file written by \"Save settings\".", true);
    }
  }

  const take = (file) => file && (file.name.endsWith(".json") ? restore(file) : open(file, file.name));
  const chosen = (input, then) => byId(input).addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) then(file);
  });
  chosen("file", take);
  chosen("like", async (file) => {
    try {
      const other = await send({ file, start: null, aligned: align.checked, face: 1 });
      for (const { name } of learned) {
        rows[name].mark("theirs", other.strengths[name], "value in the other photo");
      }
      theirs = other.strengths;
      byId("like-amount").value = 1;
      copyTheirs(learned.map(({ name }) => name));
      const doubts = other.warnings.map((warning) => ` About the other photo: ${warning}.`);
      say(`${locked.size ? "All unlocked attributes" : "All attributes"} were copied from the other photo; ↺ resets one.${doubts.join("")}`);
    } catch (error) {
      say(error.message, true);
    }
  });
  chosen("morph-photo", (file) => morphInto({ file, start: null, aligned: align.checked, face: 1 }));
  byId("morph-face").addEventListener("click", () => morphInto({ file: null, start: anotherFace(), aligned: false, face: 1 }));
  byId("morph-label").hidden = byId("morph-face").hidden = !model.morphs;
  // How much of the way to the other photo the copied attributes go: those that are still set.
  let theirs = {};
  function copyTheirs(names) {
    const amount = Number(byId("like-amount").value);
    for (const name of names.filter((each) => !locked.has(each))) set[name] = photo.own[name] + amount * (theirs[name] - photo.own[name]);
    byId("like-amount").nextElementSibling.textContent = amount;
    byId("like-row").hidden = false;
    update();
  }
  byId("like-amount").addEventListener("input", () => copyTheirs(Object.keys(set).filter((name) => name in theirs)));
  align.addEventListener("change", () => { if (photo.file) open(photo.file, photo.name); });
  for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(kind, (event) => { event.preventDefault(); stage.classList.toggle("over", over); });
  }
  document.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
  document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
  byId("camera").addEventListener("click", async ({ target }) => {
    target.disabled = true;
    try {
      camera ??= await later("camera.js");
    } finally {
      target.disabled = false;
    }
    camera.takePhoto((blob) => open(blob, "camera.png"));
  });
  byId("camera-cancel").addEventListener("click", () => camera.leaveCamera());
  byId("video").parentElement.addEventListener("keydown", (event) => { if (event.key === "Escape") camera?.leaveCamera(); });
  for (const slider of [detail, amount]) slider.addEventListener("input", update);
  byId("compare").addEventListener("input", (event) => compare(event.target.value));
  comparing(stage, compare);
  byId("reset").addEventListener("click", () => {
    set = withLocked({});
    morphs++;
    morph?.end();
    sweepOf(null);
    compare(0);
    theirs = {};
    byId("like-row").hidden = true;
    for (const slider of [detail, amount]) slider.value = slider.defaultValue;
    for (const { name } of learned) rows[name].mark("theirs");
    update();
    filter();
  });
  for (const { name } of learned) {
    rows[name].sweep.addEventListener("click", () => sweepOf(name === swept ? null : name));
    rows[name].lock.addEventListener("click", () => toggleLock(name));
  }
  byId("strip").addEventListener("click", ({ offsetX, target }) =>
    move(swept, LOWEST_SWEPT + Math.min(NUM_SWEPT - 1, Math.floor(offsetX / target.clientWidth * NUM_SWEPT))));
  byId("animate").addEventListener("click", () => saying("Drawing the animation …", async () => {
    const name = swept, blob = await picture("animation", { name });
    if (blob) save(blob, `${stem(photo)}-${name}.gif`);
  }));
  byId("more").addEventListener("change", async ({ target }) => {
    const files = [...target.files], wrong = [];
    target.value = "";
    for (const [number, file] of files.entries()) {
      say(`Editing photo ${number + 1} of ${files.length} …`);
      try {
        await download({ file, name: file.name, start: null, aligned: align.checked, face: 1 });
      } catch (error) {
        wrong.push(`${file.name}: ${error.message}`);
      }
    }
    say([`${files.length - wrong.length} of ${files.length} photos were edited and saved.`, ...wrong].join(" "), wrong.length > 0);
  });
  // Saves a photo with the current settings, at its own resolution.
  async function download(shown) {
    const query = new URLSearchParams({ settings: JSON.stringify(settings()), ...framing(shown) });
    save(await (await ask(`full?${query}`, shown.file ?? "")).blob(), `${stem(shown)}-edited.png`);
  }
  byId("download").addEventListener("click", () => saying("Rendering at full resolution …", () => download(photo)));
  byId("settings").addEventListener("click", () =>
    save(new Blob([JSON.stringify({ model: model.name, ...settings() }, null, 2)], { type: "application/json" }), "settings.json"));
  byId("link").addEventListener("click", () => copyLink(parameters()));

  const pictures = [];
  for (let number = 0; number < model.starts; number++) {
    const image = element("img", { alt: `Face ${number + 1}`, width: 96, height: 96 });
    const button = element("button", { type: "button" }, image);
    button.addEventListener("click", () => open(null, `face-${number}.png`, { start: number }));
    byId("starts").append(button);
    pictures.push(image);
  }
  // The small pictures come after the first large one.
  const fill = () => pictures.forEach((image, number) => { image.src = addressOf(`starts/${number}`); });
  const first = Number(link.get("*start") ?? model.first);
  if (link.has("*align") && !link.has("*start")) {
    byId("empty").textContent = "Open your photo to apply the settings of this link.";
    fill();
  } else if (model.starts) {
    const known = Number.isInteger(first) && first >= 0 && first < Math.max(model.starts, model.faces) ? first : model.first;
    open(null, `face-${known}.png`, { start: known }).then(fill);
  }
  byId("more-starts").hidden = model.faces <= model.starts;
  const anotherFace = () => model.starts + Math.floor(Math.random() * (model.faces - model.starts));
  byId("random").addEventListener("click", () => {
    const number = anotherFace();
    open(null, `face-${number}.png`, { start: number });
  });
}

// The picture itself: dragging the divider compares; pressing elsewhere shows the original until the release.
function comparing(stage, compare) {
  let dragged = false;
  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return Math.round(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * 100);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (!stage.classList.contains("full") || event.button) return;
    stage.setPointerCapture(event.pointerId);
    dragged = event.target === byId("divider");
    stage.classList.toggle("held", !dragged);
  });
  stage.addEventListener("pointermove", (event) => { if (dragged) compare(at(event)); });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, () => { dragged = false; stage.classList.remove("held"); });
  }
}
