// Translates what is typed, with every model of the two languages. It asks this server alone.
"use strict";

const byId = (id) => document.getElementById(id);
const form = byId("form");
const source = byId("source");
const target = byId("target");
const text = byId("source-text");
const outputs = byId("outputs");

let settings = {};
let languages = [];
// What is under way; typing on ends it, and the server drops it.
let running = new AbortController();
let timer = 0;

function say(message, wrong) {
  const status = byId("status");
  status.textContent = message;
  status.classList.toggle("wrong", Boolean(wrong));
}

function element(name, attributes, content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  if (content !== undefined) made.textContent = content;
  return made;
}

function fill(select, entries, chosen) {
  select.replaceChildren(
    ...entries.map(({ code, name }) => element("option", { value: code }, name)),
  );
  const codes = entries.map((entry) => entry.code);
  select.value = codes.includes(chosen) ? chosen : codes[0] || "";
}

function nameOf(code) {
  const found = names().find((entry) => entry.code === code);
  return found ? found.name : code;
}

// All languages: those from which there is a model, and those to which.
function names() {
  const found = new Map(languages.map(({ code, name }) => [code, name]));
  for (const { targets } of languages) {
    for (const code of targets) if (!found.has(code)) found.set(code, code);
  }
  const first = settings.language;
  if (first) found.set(first.target.code, first.target.name);
  return Array.from(found, ([code, name]) => ({ code, name }));
}

function showTargets(chosen) {
  const from = languages.find((entry) => entry.code === source.value);
  const codes = from ? from.targets : Array.from(new Set(languages.flatMap((e) => e.targets)));
  fill(target, codes.map((code) => ({ code, name: nameOf(code) })), chosen);
}

// The precisions of the models that translate; one empty word where the server chooses.
function precisions() {
  const of = settings.models.filter(
    (m) => m.target === target.value && (source.value === "auto" || m.source === source.value),
  );
  const found = Array.from(new Set(of.map((model) => model.precision)));
  return found.length > 1 ? found : [""];
}

function showOutputs() {
  outputs.replaceChildren(
    ...precisions().map((precision) => {
      const id = "out-" + (precision || "best");
      const output = element("section", { class: "output", id, "aria-labelledby": id + "-head" });
      const head = element("div", { class: "head" });
      head.append(
        element("h2", { id: id + "-head" }, precision ? "Translation, " + precision : "Translation"),
        element("span", { class: "note latency" }),
      );
      const result = element("div", { class: "text", lang: target.value, "aria-live": "polite" });
      output.append(head, result, element("div", { class: "others" }));
      output.dataset.precision = precision;
      return output;
    }),
  );
}

async function ask(output, signal) {
  output.setAttribute("aria-busy", "true");
  const start = performance.now();
  const response = await fetch("translate", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      q: text.value,
      source: source.value,
      target: target.value,
      alternatives: settings.alternatives,
      precision: output.dataset.precision,
      api_key: byId("key").value,
    }),
    signal,
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  const milliseconds = Math.round(performance.now() - start);
  output.querySelector(".text").textContent = answer.translatedText;
  output.querySelector(".latency").textContent = milliseconds + " ms";
  showAlternatives(output.querySelector(".others"), answer.alternatives || []);
  output.setAttribute("aria-busy", "false");
  return answer;
}

function showAlternatives(place, others) {
  if (!others.length) {
    place.replaceChildren();
    return;
  }
  const list = element("ul", { lang: target.value });
  list.append(...others.map((other) => element("li", {}, other)));
  place.replaceChildren(element("p", { class: "note" }, "Alternatives"), list);
}

async function translate() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  byId("count").textContent = text.value.length + " of " + settings.charLimit + " characters";
  byId("detected").textContent = "";
  if (!text.value.trim()) {
    showOutputs();
    say("Ready");
    return;
  }
  say("Translating…");
  try {
    const answers = await Promise.all(
      Array.from(outputs.children, (output) => ask(output, signal)),
    );
    const found = answers[0].detectedLanguage;
    if (found) {
      byId("detected").textContent =
        "Detected: " + nameOf(found.language) + " (" + Math.round(found.confidence) + " %)";
    }
    say("Translated");
    document.documentElement.dataset.translated = String(text.value.length);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  }
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(translate, settings.frontendTimeout);
}

function swap() {
  const [from, to] = [source.value, target.value];
  const back = languages.find((entry) => entry.code === to);
  if (from === "auto" || !back || !back.targets.includes(from)) {
    say("No model goes from " + nameOf(to) + " to " + nameOf(from) + ".", true);
    return;
  }
  const result = outputs.querySelector(".text");
  source.value = to;
  showTargets(from);
  text.value = result.textContent || text.value;
  showOutputs();
  translate();
}

// #en/de/text fills the page. What stands behind # is not sent to the server.
function fromAddress() {
  const [from, to, ...rest] = location.hash.slice(1).split("/");
  return { from, to, typed: rest.join("/") };
}

async function start() {
  try {
    [settings, languages] = await Promise.all(
      ["frontend/settings", "languages"].map(async (path) => (await fetch(path)).json()),
    );
  } catch (error) {
    say("The server does not answer.", true);
    return;
  }
  const { from, to, typed } = fromAddress();
  const first = settings.language;
  byId("key-label").hidden = !settings.keyRequired;
  fill(source, [{ code: "auto", name: "Detect language" }, ...languages], from || first.source.code);
  showTargets(to || first.target.code);
  text.maxLength = settings.charLimit;
  showOutputs();
  say("Ready");
  text.addEventListener("input", soon);
  source.addEventListener("change", () => {
    showTargets(target.value);
    showOutputs();
    translate();
  });
  target.addEventListener("change", () => {
    showOutputs();
    translate();
  });
  byId("key").addEventListener("change", translate);
  byId("swap").addEventListener("click", swap);
  form.addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) translate();
  });
  text.focus();
  document.documentElement.dataset.ready = "yes";
  if (typed) {
    text.value = decodeURIComponent(typed);
    translate();
  }
}

start();
