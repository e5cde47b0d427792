// The parts of the page: slider rows, their groups and their search, and the pad for the first two units.

export const byId = (id) => document.getElementById(id);
export const shown = (value) => (Math.round(value * 100) / 100).toString();
export const clamp = (factor, value) => Math.min(factor.high, Math.max(factor.low, value));
export const readable = (name) => name.replaceAll("_", " ");

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function say(text, wrong = false) {
  const status = byId("status");
  status.textContent = text;
  status.classList.toggle("error", wrong);
}

// Says what is being done while it lasts, or what went wrong.
export async function saying(words, work) {
  say(words);
  try {
    await work();
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

// A row: name, slider with marks, value, and buttons to reset, to sweep and to lock. onMove gets the value, or null for a reset.
export function sliderRow(factor, onMove) {
  const id = `factor-${factor.name.replace(/\s/g, "-")}`;
  const label = element("label", { htmlFor: id, textContent: readable(factor.name) });
  const row = element("div", { className: "row" }, label);
  row.dataset.name = factor.name;
  if (factor.learned === false) {
    row.classList.add("unlearned");
    row.append(element("span", { className: "reason", textContent: `Not learned: ${factor.reason}.` }));
    return { row, set() {}, mark() {}, enable() {} };
  }
  row.classList.toggle("weak", Boolean(factor.weak));
  const strengths = "learned" in factor, step = strengths ? 0.01 : (factor.high - factor.low) / 200;
  const input = element("input", { id, type: "range", min: factor.low, max: factor.high, step, disabled: true });
  const fill = element("span", { className: "fill" });
  const track = element("div", { className: "track" }, fill, input);
  const output = element("input", { className: "value", type: "number", step: strengths ? 0.1 : "any", disabled: true });
  output.setAttribute("aria-label", `${readable(factor.name)}, value`);
  const reset = rowButton("↺", `Reset ${readable(factor.name)}`), sweep = rowButton("↔", `Sweep ${readable(factor.name)}`);
  const lock = rowButton("", `Lock ${readable(factor.name)}`);
  lock.className = "lock";
  reset.addEventListener("click", () => { onMove(null); input.focus(); });
  row.append(track, output, reset, sweep, lock);
  input.addEventListener("input", () => onMove(Number(input.value)));
  input.addEventListener("dblclick", () => onMove(null));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Backspace") onMove(null);
    const sign = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!strengths || !sign || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    onMove(clamp(factor, Math.round((Number(input.value) + sign * (event.shiftKey ? 0.5 : 0.1)) * 100) / 100));
  });
  // A typed value may lie beyond the slider.
  output.addEventListener("change", () => {
    const value = output.value === "" ? NaN : Number(output.value);
    onMove(Number.isFinite(value) ? Math.max(-100, Math.min(100, value)) : null);
  });
  // The middle of a slider's thumb does not reach the ends.
  const share = (value) => Math.min(1, Math.max(0, (value - factor.low) / (factor.high - factor.low)));
  const place = (value) => `calc(8px + ${share(value)} * (100% - 16px))`;
  if (strengths) {
    for (const [value, title] of [[-1, "typical without it"], [1, "typical with it"]]) {
      const tick = element("span", { className: "tick", title });
      tick.style.left = place(value);
      track.append(tick);
    }
  }
  const marks = {};
  let own = null, enabled = false, kept = false;
  const able = () => { input.disabled = output.disabled = !enabled || kept; };
  return {
    row, sweep, lock,
    // why: the reason, if the user did not set the value.
    set(value, changed, why = "", locked = false) {
      kept = locked;
      able();
      lock.setAttribute("aria-pressed", locked);
      input.value = value;
      reset.disabled = !changed || locked;
      label.dataset.why = why;
      label.title = why || factor.weak || "";
      output.value = shown(value);
      input.setAttribute("aria-valuetext", [shown(value), why].filter(Boolean).join(", "));
      row.classList.toggle("changed", changed);
      // Filled from the photo's own value on.
      const from = own ?? value, low = Math.min(from, value), high = Math.max(from, value);
      fill.style.left = place(low);
      fill.style.width = `calc(${share(high) - share(low)} * (100% - 16px))`;
    },
    // Marks a value on the slider: this photo's, or another photo's.
    mark(kind, value, title) {
      marks[kind]?.remove();
      if (kind === "own") own = value ?? null;
      if (value === undefined) return;
      marks[kind] = element("span", { className: `mark ${kind}`, title });
      marks[kind].style.left = place(value);
      track.append(marks[kind]);
    },
    enable(on) {
      enabled = on;
      sweep.disabled = lock.disabled = !on;
      able();
    },
  };
}

function rowButton(textContent, title) {
  const button = element("button", { type: "button", textContent, title, disabled: true });
  button.setAttribute("aria-label", title);
  return button;
}

// Other names of attributes. A word finds each attribute that has a synonym beginning with it.
const SYNONYMS = {
  "5_o_Clock_Shadow": "beard stubble oclock", Arched_Eyebrows: "brows", Attractive: "beautiful pretty handsome",
  Bags_Under_Eyes: "tired", Bald: "hairless shaved", Bangs: "fringe", Big_Lips: "mouth", Black_Hair: "dark",
  Blond_Hair: "blonde fair", Blurry: "sharp blur focus", Brown_Hair: "brunette", Bushy_Eyebrows: "brows thick",
  Chubby: "fat weight", Double_Chin: "fat weight", Eyeglasses: "spectacles sunglasses", Goatee: "beard chin",
  Gray_Hair: "grey white old", Heavy_Makeup: "cosmetics make-up", High_Cheekbones: "cheeks", Male: "man woman female sex gender",
  Mouth_Slightly_Open: "teeth", Mustache: "beard moustache", No_Beard: "shaved stubble", Oval_Face: "shape",
  Pale_Skin: "white light", Receding_Hairline: "forehead bald", Rosy_Cheeks: "blush red", Sideburns: "beard whiskers",
  Smiling: "smile happy laugh grin sad", Wavy_Hair: "curly curls", Wearing_Earrings: "jewelry jewellery", Wearing_Hat: "cap",
  Wearing_Lipstick: "makeup make-up mouth", Wearing_Necklace: "jewelry jewellery", Young: "age old",
};
const letters = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

function matches(name, wanted) {
  const words = (SYNONYMS[name] ?? "").split(" ").map(letters);
  return letters(name).includes(letters(wanted)) || wanted.split(" ").every((word) =>
    letters(name).includes(letters(word)) || words.some((synonym) => synonym.startsWith(letters(word))));
}

// Fills the groups, with weak and unlearned attributes last in each. Returns the function that applies the search.
export function fillGroups(factors, rows) {
  const rank = (factor) => factor.learned ? Number(Boolean(factor.weak)) : 2;
  for (const group of new Set(factors.map((factor) => factor.group))) {
    const section = element("section", {}, element("h2", { textContent: group }));
    const ranked = factors.filter((each) => each.group === group).sort((a, b) => rank(a) - rank(b));
    for (const factor of ranked) section.append(rows[factor.name].row);
    byId("groups").append(section);
  }
  const search = byId("search"), changed = byId("changed");
  function filter() {
    const wanted = search.value.trim();
    let found = false;
    for (const section of byId("groups").children) {
      let any = false;
      for (const row of section.querySelectorAll(".row")) {
        row.hidden = !matches(row.dataset.name, wanted) || changed.checked && !row.classList.contains("changed");
        any ||= !row.hidden;
      }
      section.hidden = !any;
      found ||= any;
    }
    byId("none").hidden = found;
    byId("none").firstElementChild.textContent = wanted ? `No attribute is called “${wanted}”.` : "No attribute is changed.";
  }
  search.addEventListener("input", filter);
  changed.addEventListener("change", filter);
  byId("show-all").addEventListener("click", () => { search.value = ""; changed.checked = false; filter(); search.focus(); });
  return filter;
}

// Puts settings into the address, so that reloading restores them.
export function showLink(parameters) {
  history.replaceState(null, "", `#${parameters}`);
}

// Saves a blob under a name.
export function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function showBlob(image, blob) {
  const old = image.src;
  image.src = URL.createObjectURL(blob);
  image.hidden = false;
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

export async function copyLink(parameters) {
  showLink(parameters);
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link was copied; it contains the settings, not the photo.");
  } catch {
    say(`The link is in the address bar: ${location.href}`);
  }
}

// Runs one request at a time, then the latest of those made meanwhile; `area` is marked as busy until both are done.
export function latest(area, run) {
  let busy = false, again = false, failed = false;
  const mark = (value) => { busy = value; area.setAttribute("aria-busy", value); };
  return async function start() {
    if (busy) { again = true; return; }
    mark(true);
    do {
      again = false;
      try {
        await run();
        if (failed) say("");
        failed = false;
      } catch (error) {
        failed = true;
        say(error.message, true);
      }
    } while (again);
    mark(false);
  };
}

// Loads a file of the page when it is first needed, so that the page itself comes sooner.
export const later = (name) => import(`./${name}`);

const API = "api/v1/";
let model = null;

export const addressOf = (path) => API + path;

// Returns the server's answer; throws its message as an error.
export async function ask(path, body) {
  let response;
  try {
    response = await fetch(addressOf(path), body === undefined ? {} : { method: "POST", body });
  } catch {
    const readable = !(body instanceof Blob) || await body.slice(0, 1).arrayBuffer().catch(() => null);
    throw new Error(readable ? "The editor does not respond; is it still running?"
      : "The photo has changed on disk since it was opened; open it again.");
  }
  const served = response.headers.get("x-model");
  if (served && served !== (model ??= served)) throw new Error("The editor now serves another model; reload this page.");
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({ error: response.statusText }));
  throw Object.assign(new Error(answer.error), { status: response.status });
}

export function pad(factors, onMove) {
  const area = byId("pad"), dot = area.firstElementChild, [across, up] = factors;
  const at = (event) => {
    const box = area.getBoundingClientRect();
    onMove(0, clamp(across, across.low + (event.clientX - box.left) / box.width * (across.high - across.low)));
    onMove(1, clamp(up, up.high - (event.clientY - box.top) / box.height * (up.high - up.low)));
  };
  area.addEventListener("pointerdown", (event) => { area.setPointerCapture(event.pointerId); at(event); });
  area.addEventListener("pointermove", (event) => { if (event.buttons) at(event); });
  let values = [across.mean, up.mean];
  // Screen readers get one value per slider, the first unit's; the text names both.
  area.setAttribute("aria-valuemin", across.low);
  area.setAttribute("aria-valuemax", across.high);
  area.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1] }[event.key];
    if (!moves) return;
    event.preventDefault();
    const [unit, sign] = moves, factor = factors[unit];
    onMove(unit, clamp(factor, values[unit] + sign * (factor.high - factor.low) / 20));
  });
  return (x, y) => {
    values = [x, y];
    dot.style.left = `${(x - across.low) / (across.high - across.low) * 100}%`;
    dot.style.top = `${(up.high - y) / (up.high - up.low) * 100}%`;
    area.setAttribute("aria-valuenow", x);
    area.setAttribute("aria-valuetext", `${shown(x)}, ${shown(y)}`);
  };
}
