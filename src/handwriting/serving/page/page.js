"use strict";
// What is drawn is a list of strokes and pictures; the sheet is painted from it, so undo takes one back.
const element = (id) => document.getElementById(id);
const sheet = element("sheet"), pen = sheet.getContext("2d");
const WIDTH = 26, LONGEST = 1000, LARGEST = 900000;
let drawn = [], stroke = null, facts = null, parts = [], chosen = 0;
let busy = false, changed = false, cursor = [sheet.width / 2, sheet.height / 2], down = false;

function paint(withCursor = true) {
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = WIDTH;
  pen.strokeStyle = pen.fillStyle = "#111";
  for (const item of drawn) {
    if (item.image) {
      const factor = Math.min(sheet.width / item.image.width, sheet.height / item.image.height);
      const width = item.image.width * factor, height = item.image.height * factor;
      pen.imageSmoothingEnabled = true;
      pen.drawImage(item.image, (sheet.width - width) / 2, (sheet.height - height) / 2, width, height);
      continue;
    }
    pen.beginPath(); // a dot, where the stroke is one still: by the standard, a line without length leaves nothing
    pen.arc(...item.points[0], WIDTH / 2, 0, 2 * Math.PI);
    pen.fill();
    pen.beginPath();
    pen.moveTo(...item.points[0]);
    for (const point of item.points) pen.lineTo(...point);
    pen.stroke();
  }
  if (withCursor && sheet.matches(":focus-visible")) { // where the keyboard's pen is; no ink
    pen.strokeStyle = down ? "#1f6feb" : "#999";
    pen.lineWidth = 2;
    pen.strokeRect(cursor[0] - WIDTH / 2, cursor[1] - WIDTH / 2, WIDTH, WIDTH);
  }
}

function asBlob() {
  const last = drawn[drawn.length - 1];
  if (drawn.length === 1 && last.blob) return Promise.resolve(last.blob); // a picture in its own pixels
  const copy = document.createElement("canvas");
  const factor = Math.min(1, 5 * Math.max(...facts.shape) / sheet.height); // more is work without use
  copy.width = Math.round(factor * sheet.width);
  copy.height = Math.round(factor * sheet.height);
  paint(false);
  copy.getContext("2d", { alpha: false }).drawImage(sheet, 0, 0, copy.width, copy.height);
  paint();
  return new Promise((resolve) => copy.toBlob(resolve, "image/png"));
}

async function read() {
  changed = true;
  if (busy || !facts) return;
  busy = true;
  while (changed) {
    changed = false;
    if (!drawn.length) { show([]); say("Nothing is drawn yet."); continue; }
    try {
      const blob = await asBlob();
      const answer = await fetch("/read", { method: "POST", headers: { "Content-Type": blob.type }, body: blob });
      const found = await answer.json();
      if (answer.status === 429) { changed = true; await new Promise((next) => setTimeout(next, 300)); continue; }
      if (!drawn.length) { changed = true; continue; }
      if (!answer.ok) { show([]); say(`Nothing is read: ${found.error}.`); continue; }
      show(found.parts);
    } catch (error) {
      show([]);
      say("The server does not answer. Is make demo still running?");
    }
  }
  busy = false;
}

const best = (row) => row.indexOf(Math.max(...row));
const differs = (part) => new Set(part.probabilities.map(best)).size > 1;
const percent = (value) => (value >= 0.9995 ? "> 99.9 %" : `${(100 * value).toFixed(1)} %`);

function paintSeen(canvas, base64) {
  const [height, width] = facts.shape, bytes = atob(base64);
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let place = 0; place < bytes.length; place++) {
    image.data.fill(bytes.charCodeAt(place), 4 * place, 4 * place + 3);
    image.data[4 * place + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

const reading = (place) => {
  const labels = parts.map((part) => facts.classes[best(part.probabilities[place])]);
  return labels.join(labels.every((label) => label.length === 1) ? "" : " ");
};

function show(found) {
  if (found.length !== parts.length) chosen = 0;
  parts = found;
  element("parts").replaceChildren(...parts.map((part, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", place === chosen);
    button.setAttribute("aria-label", `Part ${place + 1} of ${parts.length}`);
    if (differs(part)) button.classList.add("differ");
    const canvas = document.createElement("canvas");
    canvas.className = "seen";
    button.append(paintSeen(canvas, part.seen));
    button.addEventListener("click", () => { chosen = place; show(parts); });
    return button;
  }));
  facts.models.forEach((model, place) => {
    const row = parts.length ? parts[chosen].probabilities[place] : null;
    facts.classes.forEach((_, label) => {
      const [fill, value] = model.bars[label];
      fill.style.width = row ? `${100 * row[label]}%` : "0";
      fill.classList.toggle("best", Boolean(row) && label === best(row));
      value.textContent = row ? percent(row[label]) : "";
    });
  });
  if (!parts.length) return;
  const all = facts.models.map((model, place) => {
    const sure = Math.min(...parts.map((part) => Math.max(...part.probabilities[place])));
    return `${model.label} reads ${reading(place)} (${percent(sure)})`;
  });
  const differ = parts.some(differs);
  say(`${all.join(", ")}${differ ? ": they disagree" : ""}.`, differ);
}

let announced = 0;
function say(text, differ = false) {
  element("said").classList.toggle("differ", differ);
  clearTimeout(announced);
  // A screen reader is told once a stroke has ended, not at each of its points.
  announced = setTimeout(() => { if (element("said").textContent !== text) element("said").textContent = text; }, stroke ? 250 : 0);
}

function at(event) {
  const box = sheet.getBoundingClientRect();
  return [(event.clientX - box.left) * sheet.width / box.width, (event.clientY - box.top) * sheet.height / box.height];
}

sheet.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || stroke) return;
  event.preventDefault();
  sheet.setPointerCapture(event.pointerId);
  stroke = { points: [at(event)], pointer: event.pointerId };
  drawn.push(stroke);
  paint();
  read();
});
sheet.addEventListener("pointermove", (event) => {
  if (!stroke || stroke.pointer !== event.pointerId) return;
  for (const each of event.getCoalescedEvents?.() ?? [event]) stroke.points.push(at(each));
  paint();
  read();
});
for (const end of ["pointerup", "pointercancel"]) {
  sheet.addEventListener(end, (event) => {
    if (!stroke || stroke.pointer !== event.pointerId) return;
    stroke = null;
    read();
  });
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
sheet.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") {
    down = !down;
    if (down) drawn.push({ points: [[...cursor]] });
  } else if (MOVES[event.key]) {
    const step = event.shiftKey ? 4 : 12;
    cursor = cursor.map((value, axis) => Math.max(0, Math.min([sheet.width, sheet.height][axis], value + step * MOVES[event.key][axis])));
    if (down) drawn[drawn.length - 1].points.push([...cursor]);
  } else return;
  event.preventDefault();
  paint();
  read();
});
for (const change of ["focus", "blur"]) sheet.addEventListener(change, () => { down = down && change === "focus"; paint(); });

function undo() {
  if (stroke) return;
  down = false;
  drawn.pop();
  paint();
  read();
}
element("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z") { event.preventDefault(); undo(); }
});
element("clear").addEventListener("click", () => { drawn = []; down = false; paint(); read(); });

async function put(blob) {
  let image;
  try {
    image = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch (error) {
    say("That file is no picture that this browser can open.");
    return;
  }
  const factor = Math.min(1, LONGEST / Math.max(image.width, image.height));
  const copy = document.createElement("canvas");
  copy.width = Math.max(1, Math.round(image.width * factor));
  copy.height = Math.max(1, Math.round(image.height * factor));
  copy.getContext("2d").drawImage(image, 0, 0, copy.width, copy.height);
  let small = await new Promise((resolve) => copy.toBlob(resolve, "image/png"));
  if (small.size > LARGEST) small = await new Promise((resolve) => copy.toBlob(resolve, "image/jpeg", 0.85));
  drawn = [{ image: copy, blob: small }];
  paint();
  read();
}
element("file").addEventListener("change", (event) => {
  if (event.target.files.length) put(event.target.files[0]);
  event.target.value = "";
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) put(event.dataTransfer.files[0]);
});

async function gallery() {
  const found = await (await fetch("/gallery")).json();
  if (!found.ready) { setTimeout(gallery, 700); return; }
  const first = facts.models[0].label;
  element("gallery-said").textContent = found.tests
    ? `${first} reads ${found.wrong} of ${found.tests.toLocaleString("en")} test images wrongly; `
      + `${found.images.length < found.wrong ? `the ${found.images.length} it is most certain of` : "all"} are here. Choose one to read it again.`
    : "The test images are not where they were when this model was trained.";
  element("gallery").replaceChildren(...found.images.map((image) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `A ${image.right}, read as ${image.read} with ${percent(image.probability)}`);
    const canvas = paintSeen(document.createElement("canvas"), image.seen);
    canvas.className = "seen";
    const text = document.createElement("span");
    text.textContent = `${image.right} read as ${image.read}`;
    button.append(canvas, text);
    button.addEventListener("click", () => { canvas.toBlob(put, "image/png"); sheet.scrollIntoView({ block: "center" }); });
    return button;
  }));
}

async function start() {
  facts = await (await fetch("/facts")).json();
  element("about").textContent = `Read by ${facts.models.map((model) => model.label + (model.alias ? `, the ${model.alias}` : "")).join("; and by ")}.`;
  element("models").replaceChildren(...facts.models.map((model) => {
    const section = document.createElement("section"), title = document.createElement("h3"), bars = document.createElement("div");
    title.textContent = model.label + (model.alias ? ` (${model.alias})` : "");
    bars.className = "bars";
    model.bars = facts.classes.map((label) => {
      const name = document.createElement("span"), track = document.createElement("span"), fill = document.createElement("div"), value = document.createElement("span");
      name.textContent = label;
      track.className = "track";
      fill.className = "fill";
      value.className = "value";
      track.append(fill);
      bars.append(name, track, value);
      return [fill, value];
    });
    section.append(title, bars);
    return section;
  }));
  paint();
  if (drawn.length) read();
  gallery();
}
start();
