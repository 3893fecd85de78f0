// The picture: before and after with a curtain between, at the window's size or its own.
import { texts } from "./texts.js";

const $ = (id) => document.getElementById(id);

export class Stage {
  constructor() {
    this.easel = $("easel");
    this.canvas = $("canvas");
    this.before = $("before");
    this.after = $("after");
    this.curtain = $("curtain");
    this.divider = $("divider");
    this.curtain.setAttribute("aria-label", texts.curtain);
    this.before.alt = texts.before;
    this.after.alt = texts.after;
    this.curtain.addEventListener("input", () => this.draw());
    this.curtain.addEventListener("keydown", (event) => { // its own steps are for a mouse
      const step = { ArrowLeft: -20, ArrowDown: -20, ArrowRight: 20, ArrowUp: 20 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.curtain.value = Number(this.curtain.value) + step;
      this.draw();
    });
    this.before.addEventListener("load", () => this.fit());
    new ResizeObserver(() => this.fit()).observe(this.easel);
    $("zoom").addEventListener("click", () => this.zoom(!this.isZoomed));
    this.isZoomed = false;
    this.full = null; // address of the picture at its own size
  }

  photograph(url) {
    this.before.src = url;
    $("welcome").hidden = true;
    this.canvas.hidden = false;
    $("another").hidden = false;
    this.easel.classList.remove("empty");
    this.clear();
  }

  clear() {
    this.after.hidden = this.curtain.hidden = this.divider.hidden = true;
    this.after.removeAttribute("src");
    this.full = null;
    $("zoom").disabled = true;
    this.zoom(false);
  }

  // Shows a painted picture when it has arrived, so that nothing flickers.
  async painted(url, full = null) {
    const picture = new Image();
    picture.src = url;
    try {
      await picture.decode();
    } catch {
      return;
    }
    this.after.src = url;
    if (this.after.hidden) this.curtain.value = 100; // a little of the photograph, so that one sees that it compares
    this.after.hidden = this.curtain.hidden = this.divider.hidden = false;
    this.full = full;
    $("zoom").disabled = full === null;
    if (full === null && this.isZoomed) this.zoom(false);
    this.draw();
  }

  draw() {
    const share = this.curtain.value / 10;
    this.after.style.clipPath = `inset(0 0 0 ${share}%)`;
    this.divider.style.left = `${share}%`;
    this.divider.style.opacity = share <= 0 || share >= 100 ? 0.35 : 1;
  }

  zoom(is) {
    this.isZoomed = is && this.full !== null;
    $("zoom").setAttribute("aria-pressed", String(this.isZoomed));
    this.easel.classList.toggle("zoomed", this.isZoomed);
    if (this.isZoomed) this.after.src = this.full;
    this.fit();
  }

  fit() {
    const { naturalWidth: width, naturalHeight: height } = this.before;
    if (!width) return;
    if (this.isZoomed) {
      const own = new Image();
      own.onload = () => this.size(own.naturalWidth / devicePixelRatio, own.naturalHeight / devicePixelRatio);
      own.src = this.full;
      return;
    }
    const tall = parseFloat(getComputedStyle(this.easel).maxHeight) || this.easel.clientHeight; // narrow pages have a limit
    const scale = Math.min(this.easel.clientWidth / width, tall / height, 3);
    this.size(width * scale, height * scale);
  }

  size(width, height) {
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
  }
}
