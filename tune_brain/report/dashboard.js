const held = (id) => JSON.parse(document.getElementById(id)?.textContent || "{}");
const escaped = (text) => String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const digits = (value) => (value === null ? "" : typeof value === "number" ? String(Number(value.toPrecision(4))) : value);
const length = (epochs) => `${epochs} epoch${epochs === 1 ? "" : "s"}`;
const make = (tag, text, attributes = {}) => Object.assign(document.createElement(tag), { textContent: text, ...attributes });

// --- trials: what the page knows of them, by number
let trials, tuned, place, epochs;
function learn() {
  trials = held("data-trials");
  tuned = Object.values(held("data-tuned"));
  place = new Map((trials.trial ?? []).map((trial, index) => [trial, index]));
}
function learnEpochs() {
  const found = held("data-epochs");
  epochs = new Map();
  (found.trial ?? []).forEach((trial, index) => {
    if (!epochs.has(trial)) epochs.set(trial, []);
    epochs.get(trial).push(Object.fromEntries(Object.keys(found).map((key) => [key, found[key][index]])));
  });
}
learn();
learnEpochs();
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

// --- one architecture or all
let arch = "";
function choose() {
  for (const part of document.querySelectorAll("main [data-arch]")) {
    part.hidden = arch !== "" && part.dataset.arch !== arch;
  }
  list();
}
document.getElementById("archs").addEventListener("change", (event) => {
  arch = event.target.value;
  choose();
});

// --- one trial from within
const chooser = () => document.getElementById("chosen");
function offer() {
  if (!chooser()) return;
  const before = Number(chooser().value || chooser().dataset.first);
  chooser().replaceChildren(
    ...[...epochs.keys()].filter((trial) => place.has(trial)).map((trial) => {
      const i = place.get(trial);
      const won = trials.winner[i] ? ", winner" : "";
      return make("option", `${trial}: ${trials.architecture[i]}, ${named(i)}, ${length(trials.epochs[i])}${won}`, { value: trial });
    }),
  );
  chooser().value = before;
}
// The rate at a share of the cycle's steps: torch's OneCycleLR as train/optim.py asks for it.
function rate(at, peak, warmup) {
  const [from, to, part] =
    at < warmup ? [peak / 25, peak, at / warmup] : [peak, peak / 250000, (at - warmup) / (1 - warmup)];
  return to + ((from - to) * (1 + Math.cos(Math.PI * part))) / 2;
}
page.fill = (data) => {
  const schedule = data.find((trace) => trace.name === "schedule");
  if (!schedule || !chooser()) return;
  const trial = Number(chooser().value);
  const i = place.get(trial);
  const rows = epochs.get(trial) ?? [];
  if (i !== undefined && trials.peak[i] !== null) {
    const steps = Array.from({ length: 121 }, (_, step) => step / 120);
    schedule.x = steps.map((at) => at * trials.epochs[i]);
    const part = trials.epochs[i] / trials.cycle[i];
    schedule.y = steps.map((at) => rate(at * part, trials.peak[i], trials.warmup_share[i]));
  }
  const lines = { measured: "lr", gradient: "grad_norm", clipped: "clipped_share", training: "train_loss", validation: "val_loss" };
  for (const trace of data) {
    if (!(trace.name in lines)) continue;
    trace.x = rows.map((row) => row.epoch);
    trace.y = rows.map((row) => row[lines[trace.name]]);
  }
  document.getElementById("chosen-about").textContent = i === undefined ? "" : trials.why[i];
};
function look() {
  const figure = document.querySelector("#steps .plot");
  if (figure && "drawn" in figure.dataset) draw(figure);
}
document.getElementById("steps").addEventListener("change", look);
document.getElementById("steps").addEventListener("click", (event) => {
  const by = Number(event.target.dataset.go);
  if (!by) return;
  const count = chooser().options.length;
  chooser().selectedIndex = (chooser().selectedIndex + by + count) % count;
  look();
});

// --- the table of trials
const COLUMNS = () => ["trial", "architecture", "configuration", "epochs", ...tuned, "macro_f1", "fate", "why", "seconds", "machine", "worker", "device", "attempt"];
const order = { by: "macro_f1", rising: false, most: 100 };
const COMPARE = { ">": (a, b) => a > b, "<": (a, b) => a < b, "=": (a, b) => a === b };

function wanted() {
  const asked = (document.getElementById("filter")?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const keys = COLUMNS();
  const holds = (i, word) => {
    const [, key, sign, value] = word.match(/^(\w+)([<>=])([-+.\de]+)$/) ?? [];
    if (key && key in trials) return trials[key][i] !== null && COMPARE[sign](trials[key][i], Number(value));
    return keys.some((name) => String(trials[name][i] ?? "").toLowerCase().includes(word));
  };
  return (trials.trial ?? []).map((_, i) => i).filter(
    (i) => (!arch || trials.architecture[i] === arch) && asked.every((word) => holds(i, word)),
  );
}
// What is empty stays last, whichever way the table is sorted.
function compare(a, b) {
  if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
  return (order.rising ? 1 : -1) * (typeof a === "number" ? a - b : String(a).localeCompare(b));
}
const textual = (name) => typeof trials[name][0] === "string";
function list() {
  const table = document.getElementById("trials");
  if (!table) return;
  const found = wanted().sort((a, b) => compare(trials[order.by][a], trials[order.by][b]));
  const head = document.createElement("tr");
  for (const name of COLUMNS()) {
    const cell = head.appendChild(make("th", "", { className: textual(name) ? "left" : "" }));
    if (name === order.by) cell.setAttribute("aria-sort", order.rising ? "ascending" : "descending");
    cell.append(make("button", name.replaceAll("_", " "), { type: "button", value: name }));
  }
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(
    ...found.slice(0, order.most).map((i) => {
      const row = make("tr", "", { className: `${trials.fate[i]}${trials.winner[i] ? " winner" : ""}` });
      for (const name of COLUMNS()) {
        const told = name === "configuration" && !trials[name][i] ? "untuned" : digits(trials[name][i]);
        row.append(make("td", told, { className: textual(name) ? "left" : "" }));
      }
      return row;
    }),
  );
  document.getElementById("filter-count").textContent = `${found.length} of ${trials.trial.length} trials`;
  document.getElementById("more").hidden = found.length <= order.most;
}
const hall = document.getElementById("configurations");
hall.addEventListener("input", list);

// --- copies and downloads
function save(name, text, type) {
  const link = make("a", "", { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
const lines = () => wanted().map((i) => Object.fromEntries(Object.keys(trials).map((key) => [key, trials[key][i]])));
const quoted = (value) => (/[",\n]/.test(value ?? "") ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));
const EXPORT = {
  json: () => save("trials.json", JSON.stringify(lines(), null, 1), "application/json"),
  csv: () => save("trials.csv", [Object.keys(trials), ...lines().map(Object.values)].map((row) => row.map(quoted).join(",")).join("\n") + "\n", "text/csv"),
};
async function copy(pre, said) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    said.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(pre);
    said.textContent = "selected; press Ctrl-C";
  }
}
hall.addEventListener("click", (event) => {
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
  list();
  if (button.value) document.querySelector(`#trials button[value="${CSS.escape(button.value)}"]`).focus();
});

offer();
choose();
