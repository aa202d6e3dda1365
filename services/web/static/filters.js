// Filters: one group of controls for each attribute of the collection's schema.

import { $, ICONS, el, icon, number } from "./dom.js";

const panel = $("filters");
const seen = new Map(); // values seen in answers, by attribute: what the fields suggest
const SUGGESTIONS = 200;

export function learn(hits) {
  for (const { image } of hits) {
    for (const [name, value] of Object.entries(image.attributes)) {
      if (!seen.has(name)) seen.set(name, new Set());
      const values = seen.get(name);
      for (const one of Array.isArray(value) ? value : [value]) {
        if (typeof one === "string" && one.length < 80 && values.size < SUGGESTIONS) values.add(one);
      }
    }
  }
}

export function forget() {
  seen.clear();
}

export function count(filters) {
  return Object.values(filters).reduce((sum, { in: values = [], min, max, is, has }) =>
    sum + values.length + (min || max ? 1 : 0) + (is ? 1 : 0) + (has ? 1 : 0), 0);
}

// change(name, filter): a filter without tests is none
export function draw({ attributes, images }, state, change, clear) {
  const groups = attributes.map((attribute, place) =>
    group(attribute, place, attribute.images < images, state.filters[attribute.name] ?? {}, change));
  const head = el("div", { class: "filters-head" }, el("h2", {}, "Filters"),
    el("button", { type: "button", class: "quiet", onclick: clear, disabled: count(state.filters) === 0 }, "Clear"));
  panel.replaceChildren(head, ...groups);
}

function group({ name, type, images }, place, sparse, filter, change) {
  const told = (changed) => change(name, { ...filter, ...changed });
  return el("fieldset", { dataset: { attribute: name } },
    el("legend", { dir: "auto" }, name, el("small", {}, ` ${number.format(images)}`)),
    ...controls(type, place, name, filter, told),
    sparse || filter.has ? choice(`${name} present`, "has", filter.has, [["", "any or none"], ["true", "has it"], ["false", "lacks it"]], told) : null);
}

function controls(type, place, name, filter, told) {
  if (type === "bool") return [choice(name, "is", filter.is, [["", "any"], ["true", "yes"], ["false", "no"]], told)];
  if (type === "int" || type === "double") {
    return [el("div", { class: "range" }, end(name, "min", "from", type, filter, told),
      end(name, "max", type === "int" ? "to" : "below", type, filter, told))];
  }
  return values(type, place, name, filter, told);
}

function end(name, test, words, type, filter, told) {
  const input = el("input", {
    type: "number", step: type === "int" ? 1 : "any", value: filter[test] ?? "", placeholder: words, "aria-label": `${name}, ${words}`,
    onchange: () => told({ [test]: input.value }),
  });
  return input;
}

function choice(label, test, value = "", options, told) {
  const select = el("select", { "aria-label": label, class: test, onchange: () => told({ [test]: select.value }) },
    ...options.map(([key, words]) => el("option", { value: key, selected: key === value }, words)));
  return select;
}

function values(type, place, name, filter, told) {
  const chosen = filter.in ?? [];
  const list = `seen-${place}`;
  const input = el("input", {
    type: "text", dir: "auto", list, autocomplete: "off", "aria-label": `${name} ${type === "strings" ? "contains" : "is"}`,
    placeholder: type === "strings" ? "contains…" : "is…",
    onchange: () => add(input.value),
    onkeydown: (event) => {
      if (event.key === "Enter" && !event.isComposing) add(input.value);
    },
  });
  const add = (value) => {
    if (value && !chosen.includes(value)) told({ in: [...chosen, value] });
  };
  const chips = chosen.map((value) => el("li", {}, el("span", { dir: "auto" }, value),
    el("button", { type: "button", class: "icon", "aria-label": `Remove ${value}`, onclick: () => told({ in: chosen.filter((one) => one !== value) }) },
      icon(ICONS.close))));
  const suggested = [...(seen.get(name) ?? [])].sort().map((value) => el("option", { value }));
  return [el("ul", { class: "values", hidden: chips.length === 0 }, ...chips), input, el("datalist", { id: list }, ...suggested)];
}
