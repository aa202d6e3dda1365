// Thumbnails of a whole answer in one request, which the next keystroke ends: one for each picture would stand in the
// way of the next question.

import { thumbnail, thumbnails } from "./api.js";

const TOGETHER = 64; // what one request may ask for; the rest comes one by one when it is scrolled to
const HELD = 2000;

const held = new Map(); // addresses of files in memory, by picture

const key = (collection, generation, id) => `${collection} ${generation} ${id}`;

// wanted: [{id, show(address, lazily)}], in the order of the answer
export async function load(wanted, collection, generation, signal) {
  const missing = [];
  wanted.forEach((one, rank) => {
    const known = held.get(key(collection, generation, one.id));
    if (known) one.show(known);
    else if (rank < TOGETHER) missing.push(one);
    else one.show(thumbnail(collection, one.id, generation), true);
  });
  if (!missing.length) return;
  let items;
  try {
    items = await thumbnails(collection, missing.map((one) => one.id), generation, signal);
  } catch (error) {
    if (error.name !== "AbortError") missing.forEach((one) => one.show(thumbnail(collection, one.id, generation), true));
    return;
  }
  missing.forEach((one, place) => {
    const file = items[place].response?.thumbnail;
    one.show(file ? hold(key(collection, generation, one.id), file) : "");
  });
}

function hold(name, file) {
  const bytes = Uint8Array.from(atob(file), (one) => one.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
  held.set(name, address);
  if (held.size > HELD) {
    const [oldest, gone] = held.entries().next().value;
    URL.revokeObjectURL(gone);
    held.delete(oldest);
  }
  return address;
}
