// Undo and redo of settings, and a strip of the last steps.

import { byId, element, readable, shown } from "./view.js";

// A gesture, such as a drag, is one step: the settings are recorded when they have not changed for this many milliseconds.
const PAUSE = 400;
const MOST_STEPS = 100;
const SHOWN_STEPS = 8;

// current: returns the settings; restore: applies them.
export function undoable(current, restore) {
  let steps = [{ settings: copy(current()), name: "start" }], at = 0, timer = null;

  function note() {
    clearTimeout(timer);
    timer = setTimeout(keep, PAUSE);
  }

  function keep() {
    clearTimeout(timer);
    const settings = copy(current()), name = difference(steps[at].settings, settings);
    if (!name) return;
    steps = [...steps.slice(0, at + 1), { settings, name }].slice(-MOST_STEPS);
    at = steps.length - 1;
    show();
  }

  function go(place) {
    keep();
    if (place < 0 || place >= steps.length || place === at) return;
    at = place;
    restore(copy(steps[at].settings));
    clearTimeout(timer);
    show();
  }

  function show() {
    byId("undo").disabled = at === 0;
    byId("redo").disabled = at === steps.length - 1;
    const first = Math.max(0, Math.min(at - SHOWN_STEPS / 2, steps.length - SHOWN_STEPS));
    byId("steps").replaceChildren(...steps.slice(first, first + SHOWN_STEPS).map(({ name }, place) => {
      const button = element("button", { type: "button", textContent: name });
      if (first + place === at) button.setAttribute("aria-current", "step");
      button.addEventListener("click", () => go(first + place));
      return element("li", {}, button);
    }));
    byId("steps").hidden = steps.length === 1;
  }

  const undo = () => { keep(); go(at - 1); }, redo = () => { keep(); go(at + 1); };
  byId("undo").addEventListener("click", undo);
  byId("redo").addEventListener("click", redo);
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.target.matches("[type=search], [type=number]")) return;
    const back = event.key.toLowerCase() === "z" && !event.shiftKey;
    const forward = event.key.toLowerCase() === "y" || event.key.toLowerCase() === "z" && event.shiftKey;
    if (!back && !forward) return;
    event.preventDefault();
    (back ? undo : redo)();
  });
  return { note };
}

const copy = (settings) => JSON.parse(JSON.stringify(settings));

// What a step changes, in a few words; empty if nothing.
function difference(before, after) {
  const locked = after.locked.find((name) => !before.locked.includes(name));
  if (locked) return `${readable(locked)} locked`;
  const unlocked = before.locked.find((name) => !after.locked.includes(name));
  if (unlocked) return `${readable(unlocked)} unlocked`;
  const names = new Set([...Object.keys(before.strengths), ...Object.keys(after.strengths)]);
  const changed = [...names].filter((name) => before.strengths[name] !== after.strengths[name]);
  if (changed.length > 1) {
    const free = Object.keys(after.strengths).some((name) => !after.locked.includes(name));
    return free ? `${changed.length} attributes` : "reset";
  }
  if (changed.length) return changed[0] in after.strengths ? `${readable(changed[0])} ${shown(after.strengths[changed[0]])}` : `${readable(changed[0])} reset`;
  if (before.amount !== after.amount) return `sharpness ${after.amount}`;
  return before.detail === after.detail ? "" : `detail ${after.detail}`;
}
