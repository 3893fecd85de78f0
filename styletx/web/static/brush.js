// A mask, painted over the picture with mouse, finger or keyboard.
import { download } from "./http.js";
import { texts } from "./texts.js";

const $ = (id) => document.getElementById(id);
const SIDE = 1024; // px of the mask's long side
const STEPS = 20; // that can be undone

export class Brush {
  // `failed` is told of a file that is no picture.
  constructor(stage, changed, failed) {
    this.stage = stage;
    this.failed = failed;
    this.canvas = $("mask");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.changed = changed;
    this.tool = null;
    this.steps = [];
    this.canvas.setAttribute("aria-label", texts.maskLabel);
    this.canvas.tabIndex = 0;
    for (const [value, text] of Object.entries(texts.brushUses)) $("brush-use").append(new Option(text, value));
    $("brush-use").addEventListener("input", () => { this.show(); this.tell(); });
    $("brush").addEventListener("toggle", () => this.show());
    for (const tool of ["draw", "erase"]) $(`brush-${tool}`).addEventListener("click", () => this.choose(tool));
    $("brush-undo").addEventListener("click", () => this.undo());
    $("brush-clear").addEventListener("click", () => { this.keep(); this.wipe(); this.tell(); });
    $("brush-load").addEventListener("click", () => $("file-mask").click());
    $("file-mask").addEventListener("change", async (event) => {
      const [file] = event.target.files;
      if (file) await createImageBitmap(file).then((picture) => this.load(picture)).catch(() => this.failed(file));
      event.target.value = "";
    });
    $("brush-save").addEventListener("click", async () => download(URL.createObjectURL(await this.blob()), "mask.png"));
    this.canvas.addEventListener("pointerenter", () => this.point());
    this.canvas.addEventListener("pointerdown", (event) => this.down(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => this.up());
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    stage.before.addEventListener("load", () => this.reset(stage.before));
  }

  get use() { return this.isEmpty ? "" : $("brush-use").value; }

  get isEmpty() {
    if (!this.canvas.width) return true;
    const { data } = this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
    for (let at = 3; at < data.length; at += 4) if (data[at] > 8) return false;
    return true;
  }

  // The next photograph begins without a mask.
  forget() {
    this.canvas.width = 0;
    $("brush-use").value = "";
    this.told();
  }

  told() {
    const use = this.use;
    $("brush").querySelector("summary").textContent = use ? texts.brushOn(texts.brushUses[use]) : texts.brush;
  }

  tell() {
    this.told();
    this.changed();
  }

  reset(picture) {
    const scale = SIDE / Math.max(picture.naturalWidth, picture.naturalHeight);
    const width = Math.max(1, Math.round(picture.naturalWidth * scale));
    const height = Math.max(1, Math.round(picture.naturalHeight * scale));
    if (width === this.canvas.width && height === this.canvas.height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.at = [width / 2, height / 2];
    this.steps = [];
    this.wipe();
  }

  wipe() { this.context.clearRect(0, 0, this.canvas.width, this.canvas.height); }

  show() {
    const isOpen = $("brush").open;
    this.canvas.hidden = !isOpen;
    if (!isOpen) this.choose(null);
    else if (this.tool === null && this.canvas.width) this.choose("draw");
    this.stage.fit();
  }

  // A circle of the brush's width under the pointer.
  point() {
    const scale = this.canvas.getBoundingClientRect().width / this.canvas.width || 1;
    const radius = Math.min(60, Math.max(2, Number($("brush-size").value) * scale / 2)); // wider cursors are not shown
    const side = Math.ceil(2 * radius + 4);
    const ring = (color, width) => `<circle cx="${side / 2}" cy="${side / 2}" r="${radius}" fill="none" stroke="${color}" stroke-width="${width}"/>`;
    const drawn = `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}">${ring("#000", 3)}${ring("#fff", 1)}</svg>`;
    this.canvas.style.cursor = `url("data:image/svg+xml,${encodeURIComponent(drawn)}") ${side / 2} ${side / 2}, crosshair`;
  }

  choose(tool) {
    this.tool = tool;
    for (const one of ["draw", "erase"]) $(`brush-${one}`).setAttribute("aria-pressed", String(one === tool));
    $("canvas").classList.toggle("drawing", tool !== null);
    this.canvas.style.pointerEvents = tool === null ? "none" : "auto";
  }

  keep() {
    this.steps.push(this.context.getImageData(0, 0, this.canvas.width, this.canvas.height));
    if (this.steps.length > STEPS) this.steps.shift();
  }

  undo() {
    const step = this.steps.pop();
    if (!step) return;
    this.context.putImageData(step, 0, 0);
    this.tell();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * this.canvas.width, (event.clientY - box.top) / box.height * this.canvas.height];
  }

  down(event) {
    if (this.tool === null) return;
    this.keep();
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.place(event);
    this.stroke(this.last, this.last);
  }

  move(event) {
    if (!this.last) return;
    const to = this.place(event);
    this.stroke(this.last, to);
    this.last = to;
  }

  up() {
    if (!this.last) return;
    this.last = null;
    if (!$("brush-use").value) $("brush-use").value = "mask";
    this.tell();
  }

  key(event) {
    const width = Number($("brush-size").value);
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) this.at = this.at.map((value, axis) => Math.max(0, Math.min([this.canvas.width, this.canvas.height][axis], value + step[axis] * width / 2)));
    else if (event.key === " ") {
      this.keep();
      this.stroke(this.at, this.at);
      if (!$("brush-use").value) $("brush-use").value = "mask";
      this.tell();
    } else return;
    event.preventDefault();
  }

  stroke(from, to) {
    this.context.globalCompositeOperation = this.tool === "erase" ? "destination-out" : "source-over";
    this.context.strokeStyle = "#ff5c8a";
    this.context.lineWidth = Number($("brush-size").value);
    this.context.lineCap = "round";
    this.context.beginPath();
    this.context.moveTo(...from);
    this.context.lineTo(to[0] + 0.01, to[1]);
    this.context.stroke();
  }

  // A mask that is white where it is marked.
  load(picture, use = $("brush-use").value || "mask") {
    this.keep();
    const { width, height } = this.canvas;
    const scratch = new OffscreenCanvas(width, height).getContext("2d");
    scratch.drawImage(picture, 0, 0, width, height);
    const pixels = scratch.getImageData(0, 0, width, height);
    for (let at = 0; at < pixels.data.length; at += 4) {
      const light = (pixels.data[at] + pixels.data[at + 1] + pixels.data[at + 2]) / 3 * pixels.data[at + 3] / 255;
      pixels.data.set([255, 92, 138, light], at);
    }
    this.context.putImageData(pixels, 0, 0);
    $("brush-use").value = use;
    this.tell();
  }

  // White where it is marked, black elsewhere.
  async blob() {
    const { width, height } = this.canvas;
    const made = new OffscreenCanvas(width, height);
    const context = made.getContext("2d");
    const pixels = this.context.getImageData(0, 0, width, height);
    for (let at = 0; at < pixels.data.length; at += 4) {
      const share = pixels.data[at + 3];
      pixels.data.set([share, share, share, 255], at);
    }
    context.putImageData(pixels, 0, 0);
    return made.convertToBlob({ type: "image/png" });
  }
}
