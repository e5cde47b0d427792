// The parts of the page: slider rows, their groups, and the pad for the first two units.

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

// A row: name, slider with marks, value, and buttons to reset and to sweep. onMove gets the value, or null for a reset.
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
  const step = (factor.high - factor.low) / 200;
  const input = element("input", { id, type: "range", min: factor.low, max: factor.high, step, disabled: true });
  const track = element("div", { className: "track" }, input);
  // Screen readers read the slider's own text.
  const output = element("span", { className: "value", ariaHidden: "true" });
  const reset = rowButton("↺", `Reset ${readable(factor.name)}`), sweep = rowButton("↔", `Sweep ${readable(factor.name)}`);
  reset.addEventListener("click", () => { onMove(null); input.focus(); });
  row.append(track, output, reset, sweep);
  input.addEventListener("input", () => onMove(Number(input.value)));
  input.addEventListener("dblclick", () => onMove(null));
  input.addEventListener("keydown", (event) => { if (event.key === "Delete" || event.key === "Backspace") onMove(null); });
  const marks = {};
  return {
    row, sweep,
    // why: the reason, if the user did not set the value.
    set(value, changed, why = "") {
      input.value = value;
      reset.disabled = !changed;
      label.dataset.why = why;
      label.title = why || factor.weak || "";
      output.textContent = shown(value);
      input.setAttribute("aria-valuetext", [shown(value), why].filter(Boolean).join(", "));
      row.classList.toggle("changed", changed);
    },
    // Marks a value on the slider: this photo's, or another photo's.
    mark(kind, value, title) {
      marks[kind]?.remove();
      if (value === undefined) return;
      const share = Math.min(1, Math.max(0, (value - factor.low) / (factor.high - factor.low)));
      marks[kind] = element("span", { className: `mark ${kind}`, title });
      // The middle of a slider's thumb does not reach the ends.
      marks[kind].style.left = `calc(8px + ${share} * (100% - 16px))`;
      track.append(marks[kind]);
    },
    enable(on) { input.disabled = sweep.disabled = !on; },
  };
}

function rowButton(textContent, title) {
  const button = element("button", { type: "button", textContent, title, disabled: true });
  button.setAttribute("aria-label", title);
  return button;
}

// Fills the groups; the group Overall comes last.
export function fillGroups(factors, rows) {
  const order = [...new Set(factors.map((factor) => factor.group))].sort((a, b) => (a === "Overall") - (b === "Overall"));
  for (const group of order) {
    const section = element("section", {}, element("h2", { textContent: group }));
    for (const factor of factors.filter((each) => each.group === group)) section.append(rows[factor.name].row);
    byId("groups").append(section);
  }
  byId("search").addEventListener("input", () => {
    const wanted = byId("search").value.toLowerCase().trim();
    for (const section of byId("groups").children) {
      let any = false;
      for (const row of section.querySelectorAll(".row")) {
        row.hidden = !readable(row.dataset.name).toLowerCase().includes(wanted);
        any ||= !row.hidden;
      }
      section.hidden = !any;
    }
  });
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
  history.replaceState(null, "", `#${parameters}`);
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied; it contains the settings, not the photo.");
  } catch {
    say(`The link is in the address bar: ${location.href}`);
  }
}

// Runs one request at a time, and the latest of those made meanwhile; `area` is marked as busy until then.
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

let model = null;

// Returns the server's answer; throws its message as an error.
export async function ask(path, body) {
  let response;
  try {
    response = await fetch(path, body === undefined ? {} : { method: "POST", body });
  } catch {
    throw new Error("The editor does not respond; is it still running?");
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
