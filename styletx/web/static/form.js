// The options, made from what the server declares: the few that matter in sight, the rest folded away by group.
import { choices, helps, labels, texts } from "./texts.js";

const MAIN = ["method", "stroke_size", "match", "colors", "strength", "size"];
const SKIPPED = ["keep"]; // which the brush gives
const FILE = "file"; // a choice's value until there is one
const SLIDERS = { stroke_size: [0.25, 4, 0.05], match: [0, 1, 0.05], strength: [0, 1, 0.05], keep_faces: [0, 1, 0.05] };

export class Options {
  // `send` uploads a file, `changed` is called with a name.
  constructor(main, more, send, changed) {
    this.send = send;
    this.main = main;
    this.more = more;
    this.changed = changed;
    this.inputs = new Map();
  }

  build(declared) {
    const groups = new Map();
    for (const option of declared) {
      if (SKIPPED.includes(option.name)) continue;
      const row = this.row(option);
      if (MAIN.includes(option.name)) {
        row.dataset.order = MAIN.indexOf(option.name);
        this.main.append(row);
      } else {
        if (!groups.has(option.group)) groups.set(option.group, []);
        groups.get(option.group).push(row);
      }
    }
    for (const row of [...this.main.querySelectorAll("label")].sort((a, b) => a.dataset.order - b.dataset.order)) this.main.append(row);
    this.inputs.get("method").input.addEventListener("input", () => this.fit());
    for (const [group, rows] of groups) {
      const details = document.createElement("details");
      const summary = document.createElement("summary");
      summary.textContent = texts.groups[group] ?? group;
      details.append(summary, ...rows);
      this.more.append(details);
    }
  }

  // Shows only what has an effect.
  fit() {
    const { value } = this.inputs.get("method").input;
    for (const { input, option } of this.inputs.values()) input.closest("label").hidden = option.method !== null && option.method !== value;
  }

  row(option) {
    const label = document.createElement("label");
    const name = document.createElement("span");
    name.textContent = labels[option.name] ?? option.label;
    const input = this.input(option);
    input.name = option.name;
    input.id = `option-${option.name}`;
    label.htmlFor = input.id;
    label.append(name, input);
    if (input.type === "range") {
      const output = document.createElement("output");
      output.htmlFor = input.id;
      output.textContent = input.value;
      input.addEventListener("input", () => { output.textContent = input.value; });
      label.append(output);
    }
    if (input.type === "checkbox") label.className = "switch";
    const help = document.createElement("small");
    help.textContent = helps[option.name] ?? option.text;
    help.id = `${input.id}-help`;
    input.setAttribute("aria-describedby", help.id);
    label.append(help);
    if (input.type !== "file") input.addEventListener("input", () => { if (input.value !== FILE) this.changed(option.name); });
    this.inputs.set(option.name, { input, option });
    return label;
  }

  input(option) {
    if (option.kind === "switch") {
      const input = document.createElement("input");
      input.type = "checkbox";
      return input;
    }
    if (option.kind === "choice" || (option.kind === "file" && option.choices)) {
      const input = document.createElement("select");
      if (option.default === null) input.append(new Option(option.default_text ?? "", ""));
      for (const choice of option.choices) input.append(new Option(choices[option.name]?.[choice] ?? choice, choice));
      if (option.kind === "file") this.offerFile(input, option);
      input.value = option.default ?? "";
      return input;
    }
    const input = document.createElement("input");
    if (option.kind === "file") {
      input.type = "file";
      input.accept = "image/*";
      input.addEventListener("change", async () => {
        delete input.dataset.id;
        if (input.files[0]) input.dataset.id = (await this.send(input.files[0]))?.id ?? "";
        this.changed(option.name);
      });
      return input;
    }
    const slider = SLIDERS[option.name];
    if (option.name === "size") { // a number, or "original"
      input.type = "text";
      const judge = () => {
        const is = input.value === "original" || (/^\d+$/.test(input.value) && input.value >= option.minimum && input.value <= option.maximum);
        input.setCustomValidity(is ? "" : texts.sizes(option.minimum, option.maximum));
      };
      input.addEventListener("input", judge);
      input.value = option.default;
    } else if (slider) {
      [input.min, input.max, input.step] = slider;
      input.type = "range";
      input.value = option.default ?? 1;
    } else if (option.kind === "number") {
      input.type = "number";
      input.min = option.minimum;
      if (option.maximum !== null) input.max = option.maximum;
      input.step = option.whole ? 1 : "any";
      if (option.default !== null) input.value = option.default;
      else input.placeholder = option.default_text ?? "";
    } else {
      input.type = "text";
      input.placeholder = option.default_text ?? option.default ?? "";
    }
    return input;
  }

  // A picture of one's own beside the words that a choice has.
  offerFile(select, option) {
    const chooser = Object.assign(document.createElement("input"), { type: "file", accept: "image/*" });
    const before = () => { select.value = option.default ?? ""; };
    select.append(new Option(texts.ownPicture, FILE));
    select.addEventListener("input", () => { if (select.value === FILE) chooser.click(); });
    chooser.addEventListener("cancel", before);
    chooser.addEventListener("change", async () => {
      const kept = await this.send(chooser.files[0]);
      chooser.value = "";
      if (!kept) return before();
      const own = new Option(kept.name, kept.id);
      select.add(own, select.options.length - 1);
      own.selected = true;
      this.changed(option.name);
    });
  }

  // What is wrong with what was typed, or null.
  fault() {
    for (const { input, option } of this.inputs.values()) {
      if (!input.checkValidity()) return `${labels[option.name] ?? option.label}: ${input.validationMessage}`;
    }
    return null;
  }

  // Those that were changed, as the fields of a request.
  values() {
    const found = {};
    for (const [name, { input, option }] of this.inputs) {
      if (input.type === "file") {
        if (input.dataset.id) found[name] = input.dataset.id;
      } else if (input.type === "checkbox") {
        if (input.checked !== option.default) found[name] = String(input.checked);
      } else if (input.value !== "" && input.value !== String(option.default ?? (input.type === "range" ? 1 : ""))) {
        found[name] = input.value;
      }
    }
    return found;
  }

  put(name, value) {
    const { input } = this.inputs.get(name);
    input.value = value;
    input.dispatchEvent(new Event("input"));
  }

  set(values) {
    for (const [name, { input, option }] of this.inputs) {
      const value = values[name] ?? option.default;
      if (input.type === "file") { input.value = ""; delete input.dataset.id; }
      else if (input.type === "checkbox") input.checked = value === true || value === "true";
      else input.value = value ?? (input.type === "range" ? 1 : "");
      const output = input.parentElement.querySelector("output");
      if (output) output.textContent = input.value;
      input.setCustomValidity("");
    }
    this.fit();
  }
}
