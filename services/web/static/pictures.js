// Pictures that people drop, paste or choose.

import { $ } from "./dom.js";

const LARGE = 1024 * 1024;
const SIDE = 1280;

// take(file) is called with {file: base64, preview: address}; refuse(words) where it is no picture.
export function listen(take, refuse) {
  const given = async (files) => {
    const file = [...files].find((one) => one.type.startsWith("image/"));
    if (!file) return refuse("That is no picture.");
    try {
      const small = file.size > LARGE ? await reduced(file) : file;
      take({ file: await base64(small), preview: URL.createObjectURL(small) });
    } catch {
      refuse("That picture cannot be read here.");
    }
  };
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const over = (by) => {
    depth = Math.max(0, depth + by);
    $("drop").hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => carries(event) && over(1));
  addEventListener("dragleave", (event) => carries(event) && over(-1));
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    over(-depth);
    given(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) {
      event.preventDefault();
      given(event.clipboardData.files);
    }
  });
  $("pick").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    given($("file").files);
    $("file").value = "";
  });
}

// The model looks at a few hundred pixels: there is no use in sending twelve million.
async function reduced(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/png" });
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
