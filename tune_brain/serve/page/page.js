"use strict";
// Everything displayed is set as text, never as markup. Images are sent to the service behind this page only.

const $ = (selector, inside = document) => inside.querySelector(selector);
const results = $("#results"), status = $("#status"), input = $("#files"), drop = $("#drop");
const TYPES = { jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", tif: "image/tiff", tiff: "image/tiff", dcm: "application/dicom" };
const ATTEMPTS = 20;
// The service refuses larger files without reading them, which breaks the connection before its answer is seen.
const LARGEST = 64 * 2 ** 20;
// A test accuracy is clearly short of a confidence if it is more than 5 points below. It is that of all sure
// answers, of which a single one may well be surer than most.
const CLEARLY = 0.05;
// Where the service runs cannot be told from here: "localhost" may be the end of a tunnel.
$("#place").textContent = location.host;
// Images chosen, finished and failed since the page was cleared, how often it was cleared, and the first article
// that has not been scrolled to.
let queue = Promise.resolve(), chosen = 0, finished = 0, failures = 0, generation = 0, unread = null;
// The bundle that the header and the card describe.
let fingerprint = "";

const percent = (value) => {
  const shown = value * 100;
  return shown > 99.9 ? "over 99.9 %" : shown < 0.1 ? "under 0.1 %" : `${shown.toFixed(1)} %`;
};
const rounded = (value) => value >= 0.995 ? "more than 99" : `about ${Math.round(value * 100)}`;
const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const short = (hash) => hash.slice(0, 12);
const images = (count) => `${count} image${count === 1 ? "" : "s"}`;

function clone(id) {
  return $(id).content.firstElementChild.cloneNode(true);
}

function title(article, name) {
  $(".name", article).textContent = name;
  article.setAttribute("aria-label", name);
}

function row(body, cells) {
  const line = body.insertRow();
  cells.forEach((cell, index) => {
    const place = index ? line.insertCell() : line.appendChild(document.createElement("th"));
    if (!index) place.scope = "row";
    place.append(cell);
    if (typeof cell === "string" && /%$/.test(cell)) place.className = "number";
  });
}

function bar(value, label) {
  const meter = document.createElement("meter");
  Object.assign(meter, { min: 0, max: 1, value });
  meter.setAttribute("aria-label", `${label}: ${percent(value)}`);
  return meter;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

// How likely an answer of which the bundle is sure is right: by its own estimate, and by the test.
function confidence(frame, tested) {
  if (!tested) return `${capital(frame.words)} by its own estimate. How often such answers are right is unknown: the bundle has no test result for them.`;
  const kind = tested.part === "unseen" ? "without a twin in training" : "related to its training or validation images";
  // Only if all answers were right is it 100 %.
  const right = tested.accuracy < 1 ? Math.min(99, Math.round(tested.accuracy * 100)) : 100;
  const onTest = `on ${tested.n} test image${tested.n === 1 ? "" : "s"} ${kind}, of all that it was sure enough to answer, ${right} % were right.`;
  return tested.accuracy < frame.probability - CLEARLY
    ? `${capital(frame.words)} by its own estimate, but ${onTest}`
    : `${capital(frame.words)}. Of 100 images like those of its training with so much confidence, ${rounded(frame.probability)} are ${frame.label}. ${capital(onTest)}`;
}

function resultArticle(name, frame, prediction) {
  const article = clone("#result"), looked = prediction.frames.length;
  title(article, frame.of > 1 ? `${name}, slice ${frame.number} of ${frame.of}` : name);
  if (frame === prediction.frames[0] && looked < frame.of) {
    Object.assign($(".skipped", article), { textContent: `${looked} of ${frame.of} slices, evenly spaced, were looked at; the others were not.`, hidden: false });
  }
  const sure = !frame.unsure;
  article.classList.toggle("unsure", !sure);
  if (frame.advice) Object.assign($(".advice", article), { textContent: frame.advice, hidden: false });
  $(".headline", article).textContent = frame.foreign
    ? "No answer: this picture does not look like the training images"
    : `${sure ? "" : "If anything: "}${frame.label}, ${percent(frame.probability)}`;
  $(".words", article).textContent = sure ? confidence(frame, prediction.tested) : frame.reason;

  $(".image", article).src = frame.image;
  $(".image", article).alt = `The picture in grey, cut to a square: ${name}`;
  $(".size", article).textContent = `The networks see the picture at ${prediction.image_size} x ${prediction.image_size} pixels.`;
  const heat = $(".heat", article), slider = $(".opacity", article);
  if (frame.heat && !frame.foreign) {
    heat.src = frame.heat;
    heat.style.opacity = slider.value / 100;
    slider.addEventListener("input", () => { heat.style.opacity = slider.value / 100; });
    $(".heat-words", article).textContent = `Red: regions that speak for ${frame.label} to the networks. It shows what mattered to them, not where a tumour is.`;
  } else {
    heat.remove();
    $(".slide", article).remove();
    $(".heat-words", article).textContent = frame.foreign ? "" : `No heat map: these networks have none, or no region speaks for ${frame.label} to them.`;
  }
  const body = $(".probabilities tbody", article);
  Object.entries(frame.probabilities).sort((a, b) => b[1] - a[1])
    .forEach(([label, value]) => row(body, [label, bar(value, label), percent(value)]));
  const many = frame.members.length;
  $(".agreement", article).textContent = many > 1
    ? (frame.agreeing === many ? `All ${many} networks agree.` : `The networks disagree: ${frame.agreeing} of ${many} predict ${frame.label}.`)
    : "A single network: there is no second opinion.";
  if (many > 1) frame.members.forEach((member) => row($(".members tbody", article), [member.name, member.label, percent(member.probability), percent(member.weight)]));
  else $(".members", article).remove();
  if (frame.foreign) $(".similar", article).remove();
  else $(".similar", article).textContent = `The ${frame.similar.length} most similar training images: ${frame.similar_in_words} (similarity ${frame.similar.at(-1).similarity.toFixed(2)} to ${frame.similar[0].similarity.toFixed(2)} of 1).`;
  $(".bundle", article).textContent = `Predicted by bundle ${prediction.bundle}, fingerprint ${short(prediction.fingerprint)}.`;
  return article;
}

function problemArticle(name, detail) {
  const article = clone("#problem");
  title(article, name);
  $(".detail", article).textContent = detail;
  return article;
}

// Why a file cannot be sent, or nothing. A browser that tries to send a folder fails without a reason.
function refusal(file, folders) {
  if (folders.has(file.name)) return "This is a folder. Open it, and drop the images inside.";
  if (file.size > LARGEST) return `A file must have at most ${LARGEST / 2 ** 20} MB.`;
  return "";
}

// Throws why a file could not be sent. Returns if it may be sent again: a service that is too busy refuses a file
// before all of it has arrived, which can break the connection before its answer is seen; so can a limit of time.
async function explainBreak(file, seconds) {
  const about = await fetch("health").then((answer) => answer.ok ? answer.json() : {}, () => null);
  if (!about) throw new Error("The service cannot be reached. Is `tune-brain serve` still running?");
  await file.slice(0, 1).arrayBuffer().catch(() => { throw new Error("This file could not be read. Has it been moved or changed since it was chosen?"); });
  if (seconds >= about.body_seconds) throw new Error(`The connection broke after ${Math.round(seconds)} seconds. It may be too slow for this file.`);
}

async function predict(file) {
  const kind = TYPES[file.name.split(".").pop().toLowerCase()] || "application/octet-stream";
  for (let attempt = 0; ; attempt++) {
    const start = performance.now();
    const response = await fetch("predict", { method: "POST", body: file, headers: { "Content-Type": kind } }).catch(() => null);
    if (!response) await explainBreak(file, (performance.now() - start) / 1000);
    if ((!response || response.status === 503) && attempt < ATTEMPTS) {
      await wait(0.5 + Math.random());
      continue;
    }
    if (!response) throw new Error("This file could not be sent: the connection broke each time.");
    const content = await response.json().catch(() => ({ detail: `The service answered ${response.status}.` }));
    if (!response.ok) throw new Error(content.detail);
    return content;
  }
}

async function showBundle() {
  try {
    const about = await (await fetch("health")).json();
    fingerprint = about.fingerprint;
    $("#model").textContent = `${about.bundle}: ${about.members} network${about.members === 1 ? "" : "s"} for the classes ${about.classes.join(", ")}. Fingerprint ${short(about.fingerprint)}.`;
  } catch {
    $("#model").textContent = "The service cannot be reached.";
  }
}

async function showCard() {
  const text = $("#card-text");
  try {
    const page = new DOMParser().parseFromString(await (await fetch("card")).text(), "text/html");
    text.replaceChildren(...$("main", page).childNodes);
  } catch {
    text.textContent = "The service cannot be reached.";
  }
}

// A service may be restarted with another bundle while its page stays open.
async function follow(prediction) {
  if (prediction.fingerprint === fingerprint) return;
  if (fingerprint) {
    $("#changed").textContent = `The service now uses another bundle: ${prediction.bundle}, fingerprint ${short(prediction.fingerprint)}. Each result names the bundle that it comes from.`;
  }
  await Promise.all([showBundle(), $("#card").open && showCard()]);
}

function showProgress() {
  const failed = failures ? `, ${failures} failed` : "";
  status.textContent = finished < chosen
    ? `Looking at image ${finished + 1} of ${chosen}${failed}…`
    : `${images(finished - failures)} done${failed}.`;
  $("#print").disabled = $("#clear").disabled = !results.children.length;
}

function take(files, folders = new Set()) {
  if (!files.length) return;
  const own = generation;
  chosen += files.length;
  showProgress();
  for (const file of files) {
    queue = queue.then(async () => {
      if (own !== generation) return;
      let articles, failed = 0;
      try {
        const refused = refusal(file, folders);
        if (refused) throw new Error(refused);
        const prediction = await predict(file);
        await follow(prediction);
        articles = prediction.frames.map((frame) => resultArticle(file.name, frame, prediction));
      } catch (error) {
        articles = [problemArticle(file.name, error.message)];
        failed = 1;
      }
      if (own !== generation) return;
      results.append(...articles);
      unread ??= articles[0];
      finished++;
      failures += failed;
      showProgress();
      if (finished === chosen) {
        // Not while the user works in a result or reads the model card; focus on a whole result is our own.
        const at = document.activeElement;
        if (!$("#card").open && !(results.contains(at) && at.tagName !== "ARTICLE")) {
          unread.focus({ preventScroll: true });
          unread.scrollIntoView({ block: "start" });
        }
        unread = null;
      }
    });
  }
}

function clear() {
  generation++;
  chosen = finished = failures = 0;
  unread = null;
  results.replaceChildren();
  showProgress();
  status.textContent = $("#changed").textContent = "";
  input.focus();
}

input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
document.addEventListener("drop", ({ dataTransfer }) => {
  const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry());
  take([...dataTransfer.files], new Set(entries.filter((entry) => entry?.isDirectory).map((entry) => entry.name)));
});
$("#clear").addEventListener("click", clear);
$("#print").addEventListener("click", () => window.print());
let folded = [];
addEventListener("beforeprint", () => { folded = [...results.querySelectorAll("details:not([open])")]; folded.forEach((details) => { details.open = true; }); });
addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
$("#card-open").addEventListener("click", async () => {
  await showCard();
  $("#card").showModal();
});
showBundle();
