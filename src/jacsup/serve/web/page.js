// The editor: the strengths read from a photo, those that the user has set, and the picture that they give.

import { ask, byId, clamp, copyLink, element, fillGroups, latest, pad, readable, save, say, showBlob, sliderRow } from "./view.js";

// How often a camera was asked for or left: a stream that comes after that is not wanted any more.
let cameras = 0;

const TRAIN = "jacsup train celeba64 --data-root DIR";
const model = await (await ask("model")).json();
byId("model-name").textContent = model.name;
document.title = `${model.name} · jacsup editor`;
const link = new URLSearchParams(location.hash.slice(1));
addEventListener("hashchange", () => location.reload());
if (model.kind === "attributes") editPhotos(); else moveUnits();

function editPhotos() {
  const learned = model.factors.filter((factor) => factor.learned);
  // Replaced as a whole, so that a late answer can tell whether its photo is still shown.
  let photo = { file: null, start: null, align: false, session: null, own: {}, name: "photo" };
  let set = {}, swept = null, opening = 0;
  const detail = byId("detail"), align = byId("align");
  const rows = Object.fromEntries(model.factors.map((factor) => [factor.name, sliderRow(factor, (value) => move(factor.name, value))]));
  fillGroups(model.factors, rows);
  align.checked = model.align;
  byId("attributes").hidden = false;
  if (!model.starts) byId("empty").textContent = "Drop or paste a photo here, or open one below.";
  if (model.drawn) {
    byId("note").textContent = `This model was trained on drawn faces only. For photographs, train one on photographs: ${TRAIN}`;
    byId("note").hidden = false;
  }
  for (const { name } of learned) if (link.get(name) && Math.abs(Number(link.get(name))) <= 100) set[name] = Number(link.get(name));
  // The asterisk keeps these apart from attributes.
  if (link.has("*detail")) detail.value = link.get("*detail");
  if (link.has("*align")) align.checked = link.get("*align") === "1";

  const settings = () => ({ strengths: set, detail: Number(detail.value) });
  // The server keeps a photo for ten minutes, the page for as long as it is open: an expired photo is sent again, once.
  async function picture(path, asked) {
    const shown = photo;
    const ofSession = () => ask(path, JSON.stringify({ session: shown.session, ...asked, ...settings() }));
    let answer;
    try {
      answer = await ofSession();
    } catch (error) {
      if (error.status !== 410) throw error;
      shown.session = (await send(shown.file, shown.align)).session;
      answer = await ofSession();
    }
    const blob = await answer.blob();
    return shown === photo ? blob : null;
  }
  const send = async (file, aligned) => (await ask(`photo?align=${Number(aligned)}`, file)).json();
  const refresh = latest(byId("stage"), async () => {
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
    byId("sweep").lastElementChild.textContent = `${readable(name)}: strengths -3, -2, -1, 0, 1, 2, 3`;
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
    if (value === null) delete set[name]; else set[name] = value;
    update();
  }

  function update() {
    // An attribute that is switched on switches off those that it excludes.
    const on = learned.filter((factor) => set[factor.name] > 0);
    const off = new Map(on.flatMap((factor) => factor.mutually_exclusive.map((other) => [other, factor.name])));
    for (const { name } of learned) {
      const other = name in set ? undefined : off.get(name), value = set[name] ?? (other ? -1 : photo.own[name]);
      if (value !== undefined) rows[name].set(value, name in set, other && `excluded by ${readable(other)}`);
    }
    byId("detail").nextElementSibling.textContent = detail.value;
    if (photo.session) { refresh(); if (swept) showSweep(); }
  }

  async function open(file, name, start = null) {
    leaveCamera();
    const mine = ++opening, aligned = align.checked && start === null;
    say("Opening the photo …");
    try {
      const opened = await send(file, aligned);
      const plain = await (await ask("edit", JSON.stringify({ session: opened.session, strengths: {} }))).blob();
      // A newer photo may have been opened meanwhile.
      if (mine !== opening) return;
      photo = { file, start, name, align: aligned, session: opened.session, own: opened.strengths };
      showBlob(byId("original"), plain);
      const advice = model.drawn ? ` A model trained on photographs would do better: ${TRAIN}` : "";
      byId("warnings").textContent = opened.warnings.map((warning) => `${warning[0].toUpperCase()}${warning.slice(1)}.${advice}`).join("\n");
      for (const { name } of learned) {
        rows[name].enable(true);
        rows[name].mark("own", photo.own[name], "value in this photo");
        rows[name].mark("theirs");
      }
      for (const id of ["compare", "detail", "reset", "download", "settings", "link", "like"]) byId(id).disabled = false;
      byId("stage").classList.add("full");
      byId("empty").hidden = true;
      say("");
      update();
    } catch (error) {
      if (mine !== opening) return;
      if (photo.file && photo.start === null) align.checked = photo.align;
      say(error.message.replace(/, or pass --no-align.*/, ", or untick \"Find the face\""), true);
    }
  }

  // Reads what the button "Save settings" wrote.
  async function restore(file) {
    try {
      const saved = JSON.parse(await file.text());
      const known = learned.filter(({ name }) => Math.abs(saved.strengths[name]) <= 100);
      set = Object.fromEntries(known.map(({ name }) => [name, Number(saved.strengths[name])]));
      detail.value = saved.detail ?? detail.defaultValue;
      say("");
      update();
    } catch {
      say("This file holds no settings; open a photo, or a file written by \"Save settings\".", true);
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
      const other = await send(file, align.checked);
      for (const { name } of learned) {
        rows[name].mark("theirs", other.strengths[name], "value in the other photo");
        set[name] = other.strengths[name];
      }
      const doubts = other.warnings.map((warning) => ` About the other photo: ${warning}.`);
      say(`All attributes are copied from the other photo; ↺ resets one.${doubts.join("")}`);
      update();
    } catch (error) {
      say(error.message, true);
    }
  });
  align.addEventListener("change", () => { if (photo.file) open(photo.file, photo.name, photo.start); });
  const stage = byId("stage");
  for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(kind, (event) => { event.preventDefault(); stage.classList.toggle("over", over); });
  }
  document.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
  document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
  byId("camera").addEventListener("click", () => takePhoto((blob) => open(blob, "camera.png")));
  byId("camera-cancel").addEventListener("click", leaveCamera);
  byId("video").parentElement.addEventListener("keydown", (event) => { if (event.key === "Escape") leaveCamera(); });
  detail.addEventListener("input", update);
  byId("compare").addEventListener("input", (event) => byId("result").style.setProperty("--hidden", `${event.target.value}%`));
  byId("reset").addEventListener("click", () => {
    set = {};
    sweepOf(null);
    detail.value = detail.defaultValue;
    for (const { name } of learned) rows[name].mark("theirs");
    update();
  });
  for (const { name } of learned) rows[name].sweep.addEventListener("click", () => sweepOf(name === swept ? null : name));
  byId("download").addEventListener("click", async () => {
    say("Rendering at full resolution …");
    const { file, name, align: aligned } = photo;
    try {
      const query = new URLSearchParams({ settings: JSON.stringify(settings()), align: Number(aligned) });
      save(await (await ask(`full?${query}`, file)).blob(), `${name.replace(/\.[^.]*$/, "")}-edited.png`);
      say("");
    } catch (error) {
      say(error.message, true);
    }
  });
  byId("settings").addEventListener("click", () =>
    save(new Blob([JSON.stringify({ model: model.name, ...settings() }, null, 2)], { type: "application/json" }), "settings.json"));
  byId("link").addEventListener("click", () => {
    const start = photo.start === null ? { "*align": Number(align.checked) } : { "*start": photo.start };
    copyLink(new URLSearchParams({ ...start, "*detail": detail.value, ...set }));
  });
  async function startFrom(number) {
    leaveCamera();
    const mine = ++opening;
    try {
      const file = await (await ask(`starts/${number}`)).blob();
      if (mine === opening) await open(file, `face-${number}.png`, number);
    } catch (error) {
      if (mine === opening) say(error.message, true);
    }
  }
  for (let number = 0; number < model.starts; number++) {
    const image = element("img", { src: `starts/${number}`, alt: `Face ${number + 1}` });
    const button = element("button", { type: "button" }, image);
    button.addEventListener("click", () => startFrom(number));
    byId("starts").append(button);
  }
  const first = Number(link.get("*start"));
  if (model.starts) startFrom(Number.isInteger(first) && first >= 0 && first < model.starts ? first : 0);
}

function stopTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function leaveCamera() {
  const video = byId("video");
  cameras++;
  stopTracks(video.srcObject);
  video.srcObject = null;
  if (document.activeElement === byId("camera-cancel")) byId("camera").focus();
  video.hidden = byId("camera-cancel").hidden = true;
  byId("camera").textContent = "Take a photo";
}

// The first click opens the camera, the second takes a photo; the button beside it, or Escape, cancels.
async function takePhoto(then) {
  const video = byId("video"), button = byId("camera");
  if (video.srcObject) {
    if (!video.videoWidth) return;
    const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    leaveCamera();
    canvas.toBlob(then);
    return;
  }
  // A second click meanwhile would start a second stream that is never stopped.
  button.disabled = true;
  const mine = ++cameras;
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    if (mine !== cameras) { stopTracks(stream); return; }
    video.srcObject = stream;
  } catch {
    say("No camera is available, or access was denied; open a file instead.", true);
    return;
  } finally {
    button.disabled = false;
  }
  video.hidden = byId("camera-cancel").hidden = false;
  button.textContent = "Take the photo";
}

function moveUnits() {
  // A residual student has one slider more: how much it adds to its teacher's image.
  const sharpness = model.amount === null ? [] : [{ name: "Sharpness", low: 0, high: 1, mean: model.amount }];
  const sliders = [...model.factors, ...sharpness], count = model.factors.length;
  const means = sliders.map((slider) => slider.mean);
  const read = (slider, place) => {
    const given = Number(link.get(slider.name) ?? means[place]);
    return Number.isFinite(given) ? clamp(slider, given) : means[place];
  };
  const values = sliders.map(read);
  const rows = sliders.map((slider, place) => sliderRow(slider, (value) => { values[place] = value ?? means[place]; update(); }));
  const dot = pad(model.factors, (unit, value) => { values[unit] = value; update(); });
  const decode = async () => (await ask("decode", JSON.stringify({ units: values.slice(0, count), amount: values[count] }))).blob();
  const refresh = latest(byId("decoded"), async () => showBlob(byId("decoded"), await decode()));
  function update() {
    rows.forEach((row, place) => row.set(values[place], values[place] !== means[place]));
    dot(values[0], values[1]);
    refresh();
  }
  rows.forEach((row, place) => {
    row.mark("own", means[place], place < count ? "the mean" : "as trained");
    row.enable(true);
    row.sweep.remove();
    byId("unit-rows").append(row.row);
  });
  byId("units-reset").addEventListener("click", () => { values.splice(0, values.length, ...means); update(); });
  byId("units-download").addEventListener("click", async () => save(await decode(), "decoded.png"));
  byId("units-link").addEventListener("click", () =>
    copyLink(new URLSearchParams(sliders.flatMap(({ name }, place) => values[place] === means[place] ? [] : [[name, values[place]]]))));
  byId("units").hidden = false;
  update();
}
