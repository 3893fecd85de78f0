// The page: what is chosen, what is asked of the server, and what is shown.
import { Brush } from "./brush.js";
import { Options } from "./form.js";
import * as http from "./http.js";
import { Sheet } from "./sheet.js";
import { Stage } from "./stage.js";
import { fill, texts } from "./texts.js";

const $ = (id) => document.getElementById(id);
const SOON = 120; // ms after the last change until a preview is asked for
const KEY = "styletx-job";
const OWN = "styletx-paintings";

fill();
const stage = new Stage();
const chosen = { photo: null, style: null, second: null, share: 0.5 };
let job = null; // what is shown, or null for a preview
let unfollow = null;
let previewing = null;
let soon = null;
let listing = null;
let cards = new Map(); // of jobs, by their ids
let mask = null; // what was sent of the brush
let isSending = false;

const options = new Options($("main-options"), $("more-options"), (file) => http.upload(file).catch(warn), () => changed());
const brush = new Brush(stage, () => { mask = null; changed(); }, async (file) => {
  try { // what this browser cannot show, the server may
    const kept = await http.upload(file);
    brush.load(await createImageBitmap(await http.blob(`/api/v1/uploads/${kept.id}/picture`)));
  } catch (error) { warn(error); }
});

const sheet = new Sheet(
  () => [...$("gallery").children].map((button) => [button.dataset.style, button.textContent]),
  (name) => (name === "style" ? chosen.style : $(`option-${name}`).value),
  async (name, value, signal) => URL.createObjectURL(await http.blob("/api/v1/preview", { method: "POST", body: await form({ [name]: value }), signal })),
  (name, value) => (name === "style" ? chooseStyle(value) : options.put(name, value)),
);

function say(text) { $("status").textContent = text; }

function warn(error) {
  const text = typeof error === "string" ? error : error?.message;
  $("message").textContent = text ?? "";
  $("message").hidden = !text;
}

// What is chosen

async function takePhoto(file) {
  if (!file) return;
  warn(null);
  say(texts.sending);
  try {
    const kept = await http.upload(file);
    leave();
    brush.forget();
    chosen.photo = kept;
    // The browser's own copy is there at once, if it can show that.
    const own = await createImageBitmap(file).catch(() => null);
    stage.photograph(own ? URL.createObjectURL(file) : `/api/v1/uploads/${kept.id}/picture`);
    guide();
  } catch (error) {
    guide();
    return warn(error);
  }
  changed();
}

async function takeStyle(file) {
  if (!file) return;
  try {
    const kept = await http.upload(file);
    addOwn(kept);
    chooseStyle(kept.id);
  } catch (error) {
    warn(error);
  }
}

// A bundled style is painted in one pass, and its painting by the optimisation.
const paintings = new Map();
const named = (style) => ($("option-method").value === "one-pass" ? style : paintings.get(style) ?? style);
const unnamed = (style) => [...paintings].find(([, painting]) => painting === style)?.[0] ?? style;

function addStyle({ name, label, picture, painting }) {
  if (painting) paintings.set(name, painting);
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.style = name;
  button.setAttribute("aria-pressed", "false");
  button.draggable = true;
  const image = document.createElement("img");
  image.src = picture;
  image.alt = "";
  image.loading = "lazy";
  const title = document.createElement("span");
  title.textContent = label ?? name;
  button.append(image, title);
  button.addEventListener("click", () => chooseStyle(name));
  button.addEventListener("dragstart", (event) => event.dataTransfer.setData("application/x-style", name));
  $("gallery").append(button);
  $("blend-with").append(new Option(label ?? name, name));
}

// Paintings of one's own are there again after a reload, as long as the server has them.
function addOwn({ id, name }) {
  if ([...$("gallery").children].some((button) => button.dataset.style === id)) return;
  addStyle({ name: id, label: name, picture: `/api/v1/uploads/${id}/picture` });
  forgetOwn(id);
  localStorage.setItem(OWN, JSON.stringify([...ownOnes(), { id, name }].slice(-8)));
}

function ownOnes() { return JSON.parse(localStorage.getItem(OWN) ?? "[]"); }

function forgetOwn(id) { localStorage.setItem(OWN, JSON.stringify(ownOnes().filter((one) => one.id !== id))); }

// What is to be done next.
function guide() {
  say(chosen.photo ? (chosen.style ? texts.ready : texts.nowStyle) : (chosen.style ? texts.nowPhoto : texts.ready));
}

function chooseStyle(name) {
  chosen.style = name;
  for (const button of $("gallery").children) button.setAttribute("aria-pressed", String(button.dataset.style === name));
  $("blend").hidden = false;
  if (!chosen.photo) guide();
  changed();
}

function blendControls() {
  const first = document.createElement("label");
  const select = document.createElement("select");
  select.id = "blend-with";
  select.append(new Option(texts.blendNone, ""));
  first.append(Object.assign(document.createElement("span"), { textContent: texts.blend }), select);
  const second = document.createElement("label");
  const range = Object.assign(document.createElement("input"), { type: "range", min: 0.05, max: 0.95, step: 0.05, value: 0.5, id: "blend-share" });
  const output = Object.assign(document.createElement("output"), { textContent: "0.5" });
  second.append(Object.assign(document.createElement("span"), { textContent: texts.blendShare }), range, output);
  second.hidden = true;
  select.addEventListener("input", () => { chosen.second = select.value || null; changed(); });
  range.addEventListener("input", () => { chosen.share = Number(range.value); output.textContent = range.value; changed(); });
  $("blend").append(first, second);
  for (const place of [$("blend"), $("easel")]) {
    place.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("application/x-style")) event.preventDefault(); });
    place.addEventListener("drop", (event) => {
      const name = event.dataTransfer.getData("application/x-style");
      if (!name) return;
      event.preventDefault();
      if (chosen.style === null) return chooseStyle(name);
      select.value = name;
      select.dispatchEvent(new Event("input"));
    });
  }
}

// The request, in which some things may be other than they are chosen.
async function form({ style = chosen.style, ...others } = {}) {
  const found = new FormData();
  found.append("content", chosen.photo.id);
  found.append("style", named(style));
  if (chosen.second) {
    found.append("style", named(chosen.second));
    if (brush.use !== "region-1") {
      found.append("weight-0", (1 - chosen.share).toFixed(2));
      found.append("weight-1", chosen.share.toFixed(2));
    }
  }
  for (const [name, value] of Object.entries({ ...options.values(), ...others })) found.append(name, value);
  if ($("timelapse").checked) found.append("timelapse", "true");
  const use = brush.use;
  if (use && (use !== "region-1" || chosen.second)) {
    if (use !== "keep") found.delete("strength");
    mask ??= await http.upload(new File([await brush.blob()], "mask.png", { type: "image/png" }));
    found.append(use, mask.id);
  }
  return found;
}

function changed() {
  const isReady = chosen.photo !== null && chosen.style !== null;
  const fault = options.fault() ?? (brush.use === "region-1" && !chosen.second ? texts.secondFirst : null);
  $("paint").disabled = $("compare").disabled = !isReady || fault !== null;
  $("blend-share").closest("label").hidden = !chosen.second || brush.use === "region-1";
  clearTimeout(soon);
  warn(fault);
  if (isReady && fault === null) soon = setTimeout(preview, SOON);
}

// What is shown

async function preview() {
  previewing?.abort();
  const own = previewing = new AbortController();
  if (job && ["waiting", "painting"].includes(job.state)) return;
  leave();
  say(texts.previewing);
  try {
    const picture = await http.blob("/api/v1/preview", { method: "POST", body: await form(), signal: own.signal });
    if (own.signal.aborted || job) return;
    await stage.painted(URL.createObjectURL(picture));
    say(texts.preview);
    $("paint").textContent = texts.paint;
  } catch (error) {
    if (error.name === "AbortError") return;
    say("");
    warn(error);
  }
}

async function paint(event) {
  event.preventDefault();
  if (!chosen.photo || !chosen.style) return warn(chosen.photo ? texts.chooseStyle : texts.choosePhoto);
  if (isSending) return;
  clearTimeout(soon);
  previewing?.abort();
  warn(null);
  isSending = true; // and not disabled, which would take the focus away
  try {
    watch(await http.post("/api/v1/jobs", await form()));
    $("easel").scrollIntoView({ block: "nearest" });
  } catch (error) {
    warn(error);
  }
  isSending = false;
}

function watch(started) {
  if (job && !started.pictures) stage.clear(); // what is shown is another's
  leave();
  let shown = -1;
  localStorage.setItem(KEY, started.id);
  const tell = (told) => {
    job = told;
    const isOver = !["waiting", "painting"].includes(told.state);
    if (isOver && document.activeElement === $("stop")) $("paint").focus();
    $("bar").hidden = isOver;
    $("canvas").classList.toggle("finished", told.has_result);
    $("progress").value = told.progress;
    $("left").textContent = told.left === null ? "" : texts.left(told.left);
    say({
      waiting: () => texts.waiting(told.place),
      painting: () => texts.painting(Math.round(told.progress * 100)),
      done: () => texts.done(told.seconds),
    }[told.state]?.() ?? texts[told.state]);
    if (told.state === "failed") warn(told.error);
    notes(told.notes);
    const address = `/api/v1/jobs/${told.id}`;
    if (told.pictures > 0 && told.pictures !== shown) {
      shown = told.pictures;
      stage.painted(`${address}/picture?n=${shown}`, told.has_result ? `${address}/result` : null);
    }
    for (const id of ["format", "save", "copy"]) $(id).disabled = !told.has_result;
    $("command").disabled = false;
    $("film").hidden = !told.has_timelapse;
    $("stop").textContent = told.state === "waiting" ? texts.leave : texts.stop;
    $("paint").textContent = isOver ? texts.paintAgain : texts.paintNext;
    if (isOver) listJobs();
  };
  unfollow = http.follow(started.id, tell, (isGone) => warn(isGone ? texts.gone : null));
  tell(started);
  listJobs();
}

function leave() {
  unfollow?.();
  unfollow = null;
  job = null;
  $("bar").hidden = $("film").hidden = true;
  $("canvas").classList.remove("finished");
  for (const line of $("jobs").children) line.classList.remove("current");
  notes([]);
  for (const id of ["format", "save", "copy", "command", "zoom"]) $(id).disabled = true;
}

function notes(list) {
  $("notes").replaceChildren(...list.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  $("notes").hidden = list.length === 0;
}

// What was painted before

async function listJobs() {
  clearTimeout(listing);
  let list;
  try {
    list = await http.json("/api/v1/jobs");
  } catch {
    return;
  }
  $("history").hidden = list.length === 0;
  const lines = list.map(card);
  cards = new Map(list.map((told, at) => [told.id, lines[at]]));
  if (lines.length !== $("jobs").children.length || lines.some((line, at) => line !== $("jobs").children[at])) $("jobs").replaceChildren(...lines);
  if (list.some((one) => ["waiting", "painting"].includes(one.state))) listing = setTimeout(listJobs, 1000);
}

// A card stays while its state does, so that nobody's focus is lost.
function card(told) {
  let line = cards.get(told.id);
  if (line?.dataset.state !== told.state) line = item(told);
  line.classList.toggle("current", told.id === job?.id);
  if (told.pictures) line.querySelector("img").src = `/api/v1/jobs/${told.id}/picture?n=${told.pictures}`;
  line.querySelector("img").hidden = !told.pictures;
  return line;
}

function item(told) {
  const line = document.createElement("li");
  const styles = told.styles.map(unnamed).join(" + ");
  const state = texts.short[told.state] ?? `${Math.round(told.seconds)} s`;
  const title = `${told.name}: ${styles}, ${state}`;
  line.dataset.state = told.state;
  const open = document.createElement("button");
  open.type = "button";
  open.className = "open";
  open.setAttribute("aria-label", texts.openResult(title));
  open.append(Object.assign(document.createElement("img"), { alt: "" }));
  open.addEventListener("click", async () => {
    try {
      await restore(await http.json(`/api/v1/jobs/${told.id}`));
      $("stage").scrollIntoView({ block: "nearest" });
    } catch (error) { // removed elsewhere
      warn(error);
      listJobs();
    }
  });
  const about = document.createElement("p");
  about.textContent = `${state} · ${styles}`;
  about.title = title;
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  const again = Object.assign(document.createElement("button"), { type: "button", textContent: texts.again });
  again.setAttribute("aria-label", texts.useAgain(title));
  again.addEventListener("click", () => settings(told.asked));
  if (told.state === "painting") {
    const stop = Object.assign(document.createElement("button"), { type: "button", textContent: texts.stop });
    stop.setAttribute("aria-label", texts.stopIt(title));
    stop.addEventListener("click", () => http.post(`/api/v1/jobs/${told.id}/stop`).catch(warn).then(listJobs));
    buttons.append(stop);
  }
  const drop = Object.assign(document.createElement("button"), { type: "button", textContent: texts.remove });
  drop.setAttribute("aria-label", texts.removeIt(title));
  drop.addEventListener("click", async () => {
    if (told.has_result && !confirm(texts.removeSure)) return;
    const next = line.nextElementSibling ?? line.previousElementSibling;
    await http.remove(`/api/v1/jobs/${told.id}`).catch(warn);
    if (job?.id === told.id) {
      leave();
      stage.clear();
      localStorage.removeItem(KEY);
      guide();
      changed();
    }
    await listJobs();
    (next?.querySelector(".open") ?? $("paint")).focus();
  });
  buttons.append(again, drop);
  line.append(open, about, buttons);
  return line;
}

// Options and styles as they were asked for.
function settings(asked) {
  options.set(asked.options);
  $("timelapse").checked = asked.timelapse;
  const [first, second] = asked.styles.map(({ style, name, weight }) => {
    const known = unnamed(style);
    if (!paintings.has(known)) addOwn({ id: known, name });
    return { known, weight };
  });
  $("blend-share").value = second ? second.weight / (first.weight + second.weight) : 0.5;
  $("blend-share").dispatchEvent(new Event("input"));
  $("blend-with").value = second?.known ?? "";
  $("blend-with").dispatchEvent(new Event("input"));
  chooseStyle(first.known);
}

// An earlier picture, with all that it was made of.
async function restore(told) {
  leave();
  brush.forget();
  chosen.photo = { id: told.asked.content, name: told.name };
  stage.photograph(`/api/v1/jobs/${told.id}/content`);
  settings(told.asked);
  const [marked] = Object.entries(told.asked.masks);
  if (marked) {
    await stage.before.decode().catch(() => null);
    const picture = await http.blob(`/api/v1/uploads/${marked[1]}/picture`).then(createImageBitmap).catch(() => null);
    if (picture) {
      brush.load(picture, marked[0]);
      mask = { id: marked[1] };
    }
  }
  clearTimeout(soon);
  previewing?.abort();
  watch(told);
}

// How all of it begins

for (const [button, input, take] of [["choose", "file-photo", takePhoto], ["another", "file-photo", takePhoto], ["camera", "file-camera", takePhoto], ["own", "file-style", takeStyle]]) {
  $(button).addEventListener("click", () => { $(input).onchange = (event) => { take(event.target.files[0]); event.target.value = ""; }; $(input).click(); });
}
const easel = $("easel");
addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  easel.classList.add("over");
});
for (const end of ["dragleave", "drop"]) addEventListener(end, () => easel.classList.remove("over"));
addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  (event.target.closest("#controls") ? takeStyle : takePhoto)(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) takePhoto(file);
});
$("controls").addEventListener("submit", paint);
$("compare").addEventListener("click", () => sheet.open());
addEventListener("focus", () => listJobs());
$("stop").addEventListener("click", () => job && http.post(`/api/v1/jobs/${job.id}/stop`).catch(warn));
$("save").addEventListener("click", () => http.download(`/api/v1/jobs/${job.id}/result?format=${$("format").value}`));
$("film").addEventListener("click", () => http.download(`/api/v1/jobs/${job.id}/timelapse`));
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": http.blob(`/api/v1/jobs/${job.id}/result`) })]);
    say(texts.copied);
  } catch (error) {
    warn(error);
  }
});
$("command").addEventListener("click", () => {
  $("command-line").textContent = job.command;
  $("command-copy").textContent = texts.copyText;
  const own = job.asked.styles.filter(({ style }) => !paintings.has(unnamed(style))).map(({ name }) => name);
  const masks = Object.keys(job.asked.masks).length ? [texts.savedMask] : [];
  $("command-needs").textContent = texts.needs([job.name, ...own, ...masks]) + (job.state === "stopped" ? ` ${texts.unstopped}` : "");
  $("command-sheet").showModal();
});
$("command-close").addEventListener("click", () => $("command-sheet").close());
$("command-copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("command-line").textContent).catch(warn);
  $("command-copy").textContent = texts.copied;
});

blendControls();
try {
  const [declared, styles] = await Promise.all([http.json("/api/v1/options"), http.json("/api/v1/styles")]);
  options.build(declared);
  styles.forEach(addStyle);
  for (const one of ownOnes()) {
    await http.json(`/api/v1/uploads/${one.id}`).then(addOwn, () => forgetOwn(one.id));
  }
  await listJobs();
  const before = localStorage.getItem(KEY);
  if (before) {
    try {
      await restore(await http.json(`/api/v1/jobs/${before}`));
    } catch {
      localStorage.removeItem(KEY);
    }
  }
  if (!job) guide();
  document.documentElement.dataset.ready = "true";
} catch (error) {
  warn(error);
}
