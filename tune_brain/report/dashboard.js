const readJson = (id) => JSON.parse(document.getElementById(id)?.textContent || "{}");
const escaped = (text) => String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const digits = (value) => (value === null ? "" : typeof value === "number" ? String(Number(value.toPrecision(4))) : value);
const length = (epochs) => `${epochs} epoch${epochs === 1 ? "" : "s"}`;
const make = (tag, text, attributes = {}) => Object.assign(document.createElement(tag), { textContent: text, ...attributes });
// Screen readers announce every write to a status element, so an equal text is not written again.
const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

// --- data: `trials` holds one array per column; `place` maps a trial's number to its index in them; `epochs` maps
// it to its epoch rows
let trials, tuned, place, epochs;
function readTrials() {
  trials = readJson("data-trials");
  tuned = Object.values(readJson("data-tuned"));
  place = new Map((trials.trial ?? []).map((trial, index) => [trial, index]));
}
function readEpochs() {
  const columns = readJson("data-epochs");
  epochs = new Map();
  (columns.trial ?? []).forEach((trial, index) => {
    if (!epochs.has(trial)) epochs.set(trial, []);
    epochs.get(trial).push(Object.fromEntries(Object.keys(columns).map((key) => [key, columns[key][index]])));
  });
}
readTrials();
readEpochs();
const named = (i) => (trials.configuration[i] ? `configuration ${trials.configuration[i]}` : "untuned baseline");
page.label = (trial) => {
  const i = place.get(trial);
  if (i === undefined) return `trial ${trial}`;
  const values = tuned.filter((name) => trials[name][i] !== null);
  return [
    `<b>${trials.architecture[i]}, ${named(i)}</b>`,
    `trial ${trial}, ${length(trials.epochs[i])}`,
    ...values.map((name) => `${escaped(name)} ${digits(trials[name][i])}`),
    ...(trials.macro_f1[i] === null ? [] : [`macro-F1 ${trials.macro_f1[i].toFixed(4)}`]),
    escaped(trials.why[i].slice(0, 90)),
  ].join("<br>");
};

// --- choice of one architecture, or of all
let arch = "";
function showChosenArch() {
  for (const part of document.querySelectorAll("main [data-arch]")) {
    part.hidden = arch !== "" && part.dataset.arch !== arch;
  }
  listTrials();
}
document.getElementById("archs").addEventListener("change", (event) => {
  arch = event.target.value;
  showChosenArch();
});

// --- the one-cycle of a chosen trial
const chooser = () => document.getElementById("chosen");
function fillChooser() {
  if (!chooser()) return;
  const options = [...epochs.keys()].filter((trial) => place.has(trial)).map((trial) => {
    const i = place.get(trial);
    const won = trials.winner[i] ? ", winner" : "";
    return make("option", `${trial}: ${trials.architecture[i]}, ${named(i)}, ${length(trials.epochs[i])}${won}`, { value: trial });
  });
  // Options are replaced only if they differ: it would close an open list.
  const texts = (all) => all.map((option) => option.text).join("\n");
  if (texts(options) === texts([...chooser().options])) return;
  const before = Number(chooser().value || chooser().dataset.first);
  chooser().replaceChildren(...options);
  chooser().value = before;
}
// Learning rate of a step, from 0, of a cycle of so many: torch's OneCycleLR with the arguments of train/optim.py.
function rate(step, count, peak, warmup) {
  const top = warmup * count - 1;
  const [from, to, part] =
    step < top ? [peak / 25, peak, step / top] : [peak, peak / 250000, (step - top) / (count - 1 - top)];
  return to + ((from - to) * (1 + Math.cos(Math.PI * part))) / 2;
}
page.fill = (data) => {
  const schedule = data.find((trace) => trace.name === "schedule");
  if (!schedule || !chooser()) return;
  const trial = Number(chooser().value);
  const i = place.get(trial);
  const rows = epochs.get(trial) ?? [];
  // A step stands where it begins: the last of an epoch just before the epoch's end. Without record.json their number
  // is unknown, and so large a number draws a smooth curve.
  const steps = trials.steps?.[i] ?? 1000;
  if (i !== undefined && trials.peak[i] !== null) {
    const last = trials.epochs[i] * steps - 1;
    const parts = Math.min(last, 120) || 1;
    const drawn = Array.from({ length: parts + 1 }, (_, part) => Math.round((part * last) / parts));
    schedule.x = drawn.map((step) => step / steps);
    schedule.y = drawn.map((step) => rate(step, trials.cycle[i] * steps, trials.peak[i], trials.warmup_share[i]));
  }
  const lines = { measured: "lr", gradient: "grad_norm", clipped: "clipped_share", training: "train_loss", validation: "val_loss" };
  for (const trace of data) {
    if (!(trace.name in lines)) continue;
    trace.x = rows.map((row) => (trace.name === "measured" ? row.epoch - 1 / steps : row.epoch));
    trace.y = rows.map((row) => row[lines[trace.name]]);
  }
  setText(document.getElementById("chosen-about"), i === undefined ? "" : trials.why[i]);
};
function redrawSteps() {
  const figure = document.querySelector("#steps .plot");
  if (figure && "drawn" in figure.dataset) draw(figure);
}
document.getElementById("steps").addEventListener("change", redrawSteps);
document.getElementById("steps").addEventListener("click", (event) => {
  const by = Number(event.target.dataset.go);
  if (!by) return;
  const count = chooser().options.length;
  chooser().selectedIndex = (chooser().selectedIndex + by + count) % count;
  redrawSteps();
});

// --- the table of trials
const COLUMNS = () => ["trial", "architecture", "configuration", "epochs", ...tuned, "macro_f1", "fate", "why", "seconds", "machine", "worker", "device", "attempt"];
const order = { by: "macro_f1", rising: false, most: 100 };
const COMPARE = { ">": (a, b) => a > b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, "<=": (a, b) => a <= b };
const cellText = (name, i) => (name === "configuration" && !trials[name][i] ? "untuned" : String(digits(trials[name][i])));

// Indices of the trials that match the chosen architecture and every word of the filter, in the order of the table.
function matching() {
  const words = (document.getElementById("filter")?.value ?? "").toLowerCase().replace(/\s*(>=|<=|[<>=])\s*/g, "$1").split(/\s+/).filter(Boolean);
  const keys = COLUMNS();
  const matches = (i, word) => {
    if (/^\w+(>=|<=|[<>=])$/.test(word)) return true; // still being typed
    const [, key, sign, value] = word.match(/^(\w+)(>=|<=|[<>=])(.+)$/) ?? [];
    if (!key || !(key in trials)) return keys.some((name) => cellText(name, i).toLowerCase().includes(word));
    const exact = trials[key][i];
    if (sign !== "=") return exact !== null && COMPARE[sign](exact, Number(value));
    // A number may be given in full or as it is shown, with fewer digits.
    return exact === Number(value) || cellText(key, i).toLowerCase() === value;
  };
  const indices = (trials.trial ?? []).map((_, i) => i).filter(
    (i) => (!arch || trials.architecture[i] === arch) && words.every((word) => matches(i, word)),
  );
  return indices.sort((a, b) => compare(trials[order.by][a], trials[order.by][b]));
}
// Empty cells sort last in either direction.
function compare(a, b) {
  if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
  return (order.rising ? 1 : -1) * (typeof a === "number" ? a - b : String(a).localeCompare(b));
}
const textual = (name) => typeof trials[name][0] === "string";
function listTrials() {
  const table = document.getElementById("trials");
  if (!table) return;
  const matches = matching();
  // The heading is rebuilt only for other columns, so that its buttons keep the keyboard focus.
  if (table.tHead.dataset.columns !== COLUMNS().join()) {
    const head = document.createElement("tr");
    for (const name of COLUMNS()) {
      head.appendChild(make("th", "")).append(make("button", name, { type: "button", value: name }));
    }
    table.tHead.replaceChildren(head);
    table.tHead.dataset.columns = COLUMNS().join();
  }
  for (const cell of table.tHead.rows[0].cells) {
    const name = cell.firstElementChild.value;
    cell.className = textual(name) ? "left" : "";
    if (name === order.by) cell.setAttribute("aria-sort", order.rising ? "ascending" : "descending");
    else cell.removeAttribute("aria-sort");
  }
  table.tBodies[0].replaceChildren(
    ...matches.slice(0, order.most).map((i) => {
      const row = make("tr", "", { className: `${trials.fate[i]}${trials.winner[i] ? " winner" : ""}` });
      for (const name of COLUMNS()) {
        row.append(make("td", cellText(name, i), { className: textual(name) ? "left" : "" }));
      }
      return row;
    }),
  );
  setText(document.getElementById("filter-count"), `${matches.length} of ${trials.trial.length} trial${trials.trial.length === 1 ? "" : "s"}`);
  document.getElementById("more").hidden = matches.length <= order.most;
}
const configurations = document.getElementById("configurations");
configurations.addEventListener("input", listTrials);

// --- copying and downloading
function save(name, text, type) {
  const link = make("a", "", { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
const lines = () => matching().map((i) => Object.fromEntries(Object.keys(trials).map((key) => [key, trials[key][i]])));
const quoted = (value) => (/[",\n]/.test(value ?? "") ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));
const EXPORT = {
  json: () => save("trials.json", JSON.stringify(lines(), null, 1), "application/json"),
  csv: () => save("trials.csv", [Object.keys(trials), ...lines().map(Object.values)].map((row) => row.map(quoted).join(",")).join("\n") + "\n", "text/csv"),
};
async function copy(pre, status) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    status.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(pre);
    status.textContent = "selected; press Ctrl-C";
  }
}
configurations.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const panel = button.closest(".panel");
  if (button.id === "more") order.most *= 4;
  else if (button.closest("th")) {
    order.rising = order.by === button.value ? !order.rising : button.value !== "macro_f1";
    order.by = button.value;
  } else if ("copy" in button.dataset) return void copy(panel.querySelector("pre"), panel.querySelector("[role=status]"));
  else if ("save" in button.dataset) return void save(button.dataset.save, panel.querySelector("pre").textContent, "text/plain");
  else if ("export" in button.dataset) return void EXPORT[button.dataset.export]();
  listTrials();
});

fillChooser();
showChosenArch();
