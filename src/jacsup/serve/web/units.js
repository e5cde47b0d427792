// The page of an ordered code: a slider for each unit, a pad for the first two, and images to start from.

import { addressOf, ask, byId, clamp, copyLink, element, latest, pad, save, showBlob, shown, sliderRow } from "./view.js";

export function moveUnits(model, link) {
  // A residual student has one more slider: the amount that it adds to its teacher's image.
  const sharpness = model.amount === null ? [] : [{ name: "Sharpness", low: 0, high: 1, mean: model.amount }];
  const sliders = [...model.factors, ...sharpness], count = model.factors.length;
  const means = sliders.map((slider) => slider.mean);
  const read = (slider, place) => {
    const given = Number(link.get(slider.name) ?? means[place]);
    return Number.isFinite(given) ? clamp(slider, given) : means[place];
  };
  const values = sliders.map(read);
  // Test images, if the data set is available. The page shows the first one unless its link contains units.
  const starts = model.starts.map(({ picture }, number) => {
    const button = element("button", { type: "button" }, element("img", { src: picture, alt: `Test image ${number + 1}` }));
    button.addEventListener("click", () => startFrom(number));
    return button;
  });
  byId("unit-starts").append(...starts);
  function startFrom(number) {
    values.splice(0, count, ...model.starts[number].units);
    update();
  }
  const rows = sliders.map((slider, place) => sliderRow(slider, (value) => { values[place] = value ?? means[place]; update(); }));
  byId("two-units").hidden = count < 2;
  const dot = count < 2 ? () => {} : pad(model.factors, (unit, value) => { values[unit] = value; update(); });
  const decode = async () => (await ask("decode", JSON.stringify({ units: values.slice(0, count), amount: values[count] }))).blob();
  const refresh = latest(byId("decoded"), async () => showBlob(byId("decoded"), await decode()));
  function update() {
    rows.forEach((row, place) => row.set(values[place], values[place] !== means[place]));
    dot(values[0], values[1]);
    starts.forEach((button, number) => button.setAttribute("aria-pressed", model.starts[number].units.every((unit, place) => unit === values[place])));
    refresh();
  }
  rows.forEach((row, place) => {
    row.mark("own", means[place], place < count ? "the mean" : "as trained");
    row.enable(true);
    row.sweep.remove();
    row.lock.remove();
    if (place < count) describe(row.row, place);
    byId("unit-rows").append(row.row);
  });
  // Below a slider: the images from the unit's lowest to its highest value, and its share of all changes.
  function describe(row, place) {
    const { name, low, high, effect } = sliders[place];
    const share = element("span", { className: "effect", title: `${(100 * effect).toFixed(1)} % of all changes` });
    share.style.setProperty("--share", `${100 * effect}%`);
    const strip = element("img", { className: "unit-strip", loading: "lazy", src: addressOf(`units/${place}`), alt: `Images with ${name} from ${shown(low)} to ${shown(high)}` });
    strip.addEventListener("click", ({ offsetX }) => { values[place] = low + (high - low) * clamp({ low: 0, high: 1 }, offsetX / strip.clientWidth); update(); });
    row.append(share, strip);
  }
  byId("units-random").addEventListener("click", () => {
    model.factors.forEach((factor, place) => { values[place] = clamp(factor, factor.mean + factor.std * normal()); });
    update();
  });
  byId("units-reset").addEventListener("click", () => { values.splice(0, values.length, ...means); update(); });
  byId("units-download").addEventListener("click", async () => save(await decode(), "decoded.png"));
  byId("units-link").addEventListener("click", () =>
    copyLink(new URLSearchParams(sliders.flatMap(({ name }, place) => values[place] === means[place] && !starts.length ? [] : [[name, values[place]]]))));
  byId("units").hidden = false;
  if (starts.length && !sliders.some(({ name }) => link.has(name))) startFrom(0);
  else update();
}

// A random number of a normal distribution (Box and Muller).
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
