// One setting at several values beside one another, each as a quick preview, to choose from.
import { choices, labels, texts } from "./texts.js";

const $ = (id) => document.getElementById(id);
const VALUES = {
  stroke_size: [0.5, 0.75, 1, 1.5, 2, 3],
  colors: ["painting", "photo", "match", "luminance"],
  strength: [0.25, 0.5, 0.75, 1],
  detail: ["", "auto", "edges"],
};

export class Sheet {
  // `styles` gives those that there are as [name, label], `current` a setting's value, `preview` an address of a picture
  // for a setting and a value, and `choose` is called with both.
  constructor(styles, current, preview, choose) {
    this.styles = styles;
    this.current = current;
    this.preview = preview;
    this.choose = choose;
    this.ending = null;
    $("sheet-of").append(new Option(texts.style, "style"));
    for (const name of Object.keys(VALUES)) $("sheet-of").append(new Option(labels[name] ?? texts.sheetNames[name], name));
    $("sheet-of").addEventListener("input", () => this.fill());
    $("sheet-close").addEventListener("click", () => $("sheet").close());
    $("sheet").addEventListener("close", () => this.end());
  }

  open() {
    $("sheet").showModal();
    this.fill();
  }

  end() {
    this.ending?.abort();
    for (const image of $("sheet-grid").querySelectorAll("img")) URL.revokeObjectURL(image.src);
    $("sheet-grid").replaceChildren();
  }

  async fill() {
    this.end();
    const { signal } = this.ending = new AbortController();
    const name = $("sheet-of").value;
    const current = this.current(name);
    const found = name === "style" ? this.styles() : VALUES[name].map((value) => [value, choices[name]?.[value] ?? (value === "" ? texts.nothing : String(value))]);
    const cells = found.map(([value, label]) => this.cell(name, value, label, String(value) === String(current)));
    $("sheet-grid").replaceChildren(...cells.map(({ button }) => button));
    for (const { value, image, button } of cells) {
      try {
        image.src = await this.preview(name, value, signal);
        button.classList.remove("awaited");
      } catch (error) {
        if (signal.aborted) return;
        button.title = error.message;
        button.classList.replace("awaited", "failed");
      }
    }
  }

  cell(name, value, label, isCurrent) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "awaited" });
    button.setAttribute("aria-pressed", String(isCurrent));
    const image = Object.assign(document.createElement("img"), { alt: "" });
    button.append(image, Object.assign(document.createElement("span"), { textContent: label }));
    button.addEventListener("click", () => { $("sheet").close(); this.choose(name, value); });
    return { value, image, button };
  }
}
