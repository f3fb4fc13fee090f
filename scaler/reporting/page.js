// SPDX-License-Identifier: Apache-2.0
"use strict";
const POLL_MS = 2000, DEADLINE_MS = 5000, STALE_MS = 8000, HISTORY_MS = 10000, MOST_SQUARES = 240;
const STATES = [["busy", "busy"], ["consuming_idle", "idle"], ["starting", "starting"], ["stuck", "late"],
  ["draining", "draining"], ["released", "released"], ["unknown", "unknown"]];
const LINES = [["needed", "needed"], ["desired", "desired"], ["running", "running"], ["draining", "draining"]];
const KINDS = {grow: "grow", shrink: "shrink", drain: "drain", resume: "resume", protect: "protect", hold: "hold", blind: "unknown"};
const $ = id => document.getElementById(id);
const drawn = new Map();
const here = {fleets: [], now: 0, answered: 0, awake: Date.now(), skew: 0, problem: null, name: null, fleet: null, points: [], decisions: [],
  known: null, history: 0, minutes: 60, cursor: null, open: new Set(), failure: ""};

// ---- making elements: strings become text, never markup
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) if (value !== null && value !== false) element.setAttribute(name, value);
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== "").map(asChild));
  return element;
}
function asChild(child) { return child instanceof Node ? child : String(child); }
function s(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function draw(id, data, build) {  // unchanged parts keep their selection and focus
  const key = JSON.stringify(data);
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  $(id).replaceChildren(...[build()].flat().filter(Boolean));
}
const number = value => value === null || value === undefined ? "?" : String(value);
const arrows = text => String(text).replaceAll(" -> ", " → ");
const plural = (count, noun) => count === 1 ? `1 ${noun}` : `${number(count)} ${noun}s`;
const serverNow = () => Date.now() + here.skew;
function clock(at, seconds = true) {
  const when = new Date(at), today = new Date().toDateString() === when.toDateString();
  const time = when.toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", ...(seconds ? {second: "2-digit"} : {}), hourCycle: "h23"});
  return today ? time : `${when.toLocaleDateString([], {day: "numeric", month: "short"})} ${time}`;
}
function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

// ---- requests
async function get(path) {
  const answer = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(DEADLINE_MS)});
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
}
async function refresh() {
  try {
    const seen = await get("v1/fleets?brief");
    here.skew = Date.parse(seen.now) - Date.now();
    Object.assign(here, {fleets: seen.fleets, problem: seen.problem});
    $("environment").textContent = seen.environment;
    draw("links", seen.links, () => [["airflow", "Airflow"], ["log", "Log"]].map(([key, word]) => seen.links[key] ? h("a", {href: seen.links[key]}, word) : null));
    choose();
    if (here.name !== null) await loadFleet(here.name);
    here.answered = Date.now();
    here.failure = "";
  } catch (error) {
    here.failure = error.name === "TimeoutError" ? "timeout" : error.message;
  }
  render();
}
async function loadFleet(name) {
  const query = `fleet=${encodeURIComponent(name)}`;
  const [fleet] = (await get(`v1/fleets?${query}`)).fleets;
  const changed = !here.fleet || here.fleet.fleet !== name || here.fleet.since !== fleet.since;
  if (changed || Date.now() - here.history >= HISTORY_MS) {
    // While the log is read, older points arrive too.
    const known = here.fleet && here.fleet.fleet === name && here.known.state !== "reading" ? here.points : [];
    const since = known.length ? known[known.length - 1].at : 0;
    const [line, past] = await Promise.all([get(`v1/timeline?${query}&since=${since}`), get(`v1/decisions?${query}&changes&limit=12`)]);
    if (name !== here.name) return;
    const fresh = line.points.map(values => Object.fromEntries(line.series.map((key, index) => [key, values[index]])));
    here.points = [...known.filter(point => point.at < since), ...fresh];
    here.known = line.history;
    here.decisions = past.decisions.reverse();
    here.history = Date.now();
  }
  if (name !== here.name) return;
  const before = here.fleet && here.fleet.fleet === name ? here.fleet.desired : fleet.desired;
  if (before !== fleet.desired) $("announce").textContent = `${name}: desired ${number(before)} to ${number(fleet.desired)}`;
  here.fleet = fleet;
}
function choose() {
  const chosen = fleetInUrl(), names = here.fleets.map(fleet => fleet.fleet);
  const wide = matchMedia("(min-width: 1000px)").matches;
  const name = names.includes(chosen) ? chosen : names.length === 1 || wide ? (sorted()[0] || {}).fleet ?? null : null;
  document.body.classList.toggle("many", names.length > 1);
  document.body.classList.toggle("chosen", name !== null);
  if (name !== here.name) Object.assign(here, {name, fleet: null, points: [], decisions: [], history: 0, cursor: null});
}

function fleetInUrl() {
  try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; }
}

// ---- problems
function attention(fleet) {
  const found = [], workers = fleet.workers || {}, override = fleet.overrides;
  const silent = serverNow() - Date.parse(fleet.at);
  if (silent > Math.max(15000, 4000 * (fleet.interval_s || 5))) found.push(["bad", `no decision for ${span(silent)}`]);
  if (fleet.failed) found.push(["bad", "last tick failed", fleet.failed.error]);
  if (fleet.desired === null) found.push(["bad", "workers unknown"]);
  if (!fleet.demand) found.push(["warn", "demand unknown"]);
  const lost = (fleet.demand || {}).without_message;
  if (lost) found.push(["warn", `${plural(lost, "task")} without a message`]);
  // Workers that are all idle are not short of workers.
  if (fleet.needed > fleet.max && !(workers.consuming_idle && !workers.busy)) found.push(["warn", `at maximum, ${fleet.needed - fleet.max} short`]);
  if (workers.stuck) found.push(["warn", `${workers.stuck} late`]);
  if ((fleet.errors || []).length) found.push(["errors", plural(fleet.errors.length, "error")]);
  if (override && override.dry_run) found.push(["info", "dry run"]);
  if (override && override.pause && override.pause !== "none") found.push(["info", `paused ${override.pause}`]);
  if (override && override.fixed !== null && override.fixed !== undefined) found.push(["info", `fixed at ${override.fixed}`]);
  return found;
}
function sorted() {
  const by = $("sort").value, weight = {bad: 100, warn: 10, errors: 10, info: 1};
  const rank = {
    attention: fleet => attention(fleet).reduce((sum, [level]) => sum + weight[level], 0),
    workers: fleet => fleet.running ?? -1, backlog: fleet => fleet.demand ? fleet.demand.queued : -1, name: () => 0}[by];
  return [...here.fleets].sort((a, b) => rank(b) - rank(a) || a.fleet.localeCompare(b.fleet, undefined, {numeric: true}));
}

// ---- drawing
function render() {
  // A page in the background sends no requests, so a missing answer is no failure.
  const late = Date.now() - (here.answered || here.awake), stale = late > STALE_MS && Date.now() - here.awake > STALE_MS;
  if (stale !== document.body.classList.contains("stale")) {
    document.body.classList.toggle("stale", stale);
    $("announce").textContent = stale ? "The scaler does not answer" : "The scaler answers again";
  }
  const shown = here.answered ? `, shown is ${clock(here.answered)}` : "";
  $("link-text").textContent = stale ? `no answer for ${span(late)}${shown}` : here.answered ? `live, ${span(late)} ago` : "connecting";
  renderList();
  const fleet = here.fleet;
  for (const id of ["hero", "details", "timeline", "today", "past"]) $(id).hidden = !fleet;
  $("waiting").hidden = Boolean(fleet) || here.name !== null;
  $("waiting").textContent = here.answered && !here.fleets.length ? "The scaler answers. No fleet has a decision yet." : "Waiting for the first answer…";
  if (!fleet) { draw("notes", null, () => []); document.title = "openmwaa scaler"; return; }
  document.title = `${fleet.fleet}: ${number(fleet.running)} workers`;
  renderSummary(fleet); renderNotes(fleet); renderWorkers(fleet); renderFacts(fleet); renderPlot(); renderToday(fleet.today); renderDecisions();
  draw("steps", fleet.explanation, () => fleet.explanation.map(step => h("li", null, h("b", null, step.name), h("span", null, arrows(step.text)))));
}
function renderList() {
  const search = $("search").value.trim().toLowerCase();
  const rows = sorted().filter(fleet => fleet.fleet.toLowerCase().includes(search)).map(fleet => {
    const marks = attention(fleet), demand = fleet.demand;
    const under = marks.length ? marks.map(([, text]) => text).join(", ") : demand ? `${demand.queued} queued, ${demand.running} running` : "";
    const count = fleet.running === fleet.desired ? number(fleet.running) : `${number(fleet.running)} → ${number(fleet.desired)}`;
    return [fleet.fleet, count, under, fleet.fleet === here.name];
  });
  draw("list", rows, () => rows.map(([name, count, under, current]) => h("li", null,
    h("a", {href: `#${encodeURIComponent(name)}`, "aria-current": current ? "true" : null},
      h("b", null, name), h("span", {class: "count"}, count, h("span", {class: "sr"}, " workers")), h("small", null, under)))));
  $("none").hidden = rows.length > 0 || !here.fleets.length;
}
function renderSummary(fleet) {
  const {running, desired} = fleet;
  $("fleet").textContent = `Fleet ${fleet.fleet}`;
  const going = desired !== running && desired !== null ? `, going to ${desired}` : "";
  $("question").textContent = running === 1 ? `Why is there 1 worker${going}?` : `Why are there ${running ? number(running) : running === 0 ? "no" : "?"} workers${going}?`;
  draw("summary", fleet.summary, () => {
    const [first, ...rest] = fleet.summary;
    return [h("p", null, first), rest.length ? h("p", null, rest.join(" ")) : null];
  });
  draw("next-steps", fleet.next_steps, () => [h("b", null, "Next: "), fleet.next_steps.join(" ")]);
  draw("chain", [fleet.demand, fleet.needed, fleet.target, desired, running, fleet.min, fleet.max, fleet.slots_per_worker, fleet.workers], () => chain(fleet));
}
function tile(value, label, kind, turn) {
  return h("li", {class: kind || null}, h("div", {class: turn ? "turn" : null}, h("strong", null, number(value)), h("span", null, label)));
}
function chain(fleet) {
  const {demand, needed, target, desired, running} = fleet, workers = fleet.workers || {}, perWorker = fleet.slots_per_worker;
  const tiles = [tile(demand ? demand.slots ?? demand.queued + demand.running : null, "slots needed")];
  if (perWorker) tiles.push(tile(perWorker, "slots per worker", "by"));
  tiles.push(tile(needed, "workers needed", perWorker ? "is" : null));
  const why = target === needed || needed === null ? `within ${fleet.min}–${fleet.max}` : target === fleet.max && needed > target ? `at most ${fleet.max}` :
    target === fleet.min && needed < target ? `at least ${fleet.min}` : "kept for now";
  tiles.push(tile(target, `target, ${why}`, null, target !== needed && needed !== null));
  const held = (workers.draining || 0) + (workers.released || 0);
  tiles.push(tile(desired, desired > target ? `desired, ${held ? `${held} draining` : "protected"}` : "desired", null, desired !== target));
  tiles.push(tile(running, fleet.pending ? `running, ${fleet.pending} pending` : "running", null, running !== desired));
  return tiles;
}
function renderNotes(fleet) {
  const notes = attention(fleet).filter(([level]) => level === "bad" || level === "warn").map(([level, text, why]) => [level, text, why || ""]);
  for (const error of fleet.errors || []) notes.push(["warn", "Error", error.text]);
  const override = fleet.overrides || {};
  if (override.dry_run) notes.push(["info", "Dry run", "decisions are not applied"]);
  if (override.pause && override.pause !== "none") notes.push(["info", "Paused", {in: "no scale-in", out: "no scale-out", both: "no scale-in and no scale-out"}[override.pause] || override.pause]);
  draw("notes", notes, () => notes.map(([level, head, text]) => h("p", {class: `note ${level}`}, h("b", null, head), text ? `: ${text}` : "")));
}
function renderWorkers(fleet) {
  const workers = {...fleet.workers};
  workers.starting = Math.max(0, (workers.starting || 0) - (workers.stuck || 0));
  const counts = STATES.map(([state, word]) => [state, word, workers[state] || 0]), total = counts.reduce((sum, [, , count]) => sum + count, 0);
  const scale = Math.max(1, Math.ceil(total / MOST_SQUARES));
  draw("strip", [counts, total], () => counts.flatMap(([state, , count]) => Array.from({length: Math.ceil(count / scale)}, () => h("span", {class: `sq ${state}`}))));
  $("strip").setAttribute("aria-label", counts.filter(([, , count]) => count).map(([, word, count]) => `${count} ${word}`).join(", ") || (fleet.workers && fleet.workers.busy === null ? "unknown" : "no workers"));
  draw("legend", [counts, scale, fleet.workers], () => [
    ...counts.filter(([, , count]) => count).map(([state, word, count]) => h("li", null, h("span", {class: `sq ${state}`}), `${count} ${word}`)),
    total ? null : h("li", null, fleet.workers && fleet.workers.busy === null ? "Worker states unknown." : "No workers."), scale > 1 ? h("li", null, `one square is ${scale} workers`) : null]);
}
function renderFacts(fleet) {
  const facts = [], slots = fleet.slots || {}, override = fleet.overrides || {}, demand = fleet.demand;
  facts.push(["Backlog", demand ? `${demand.queued} queued, ${demand.running} running${demand.not_due ? `, ${demand.not_due} not due` : ""}${demand.without_message ? `, ${demand.without_message} without a message in the broker` : ""}` : "unknown"]);
  if (slots.total !== undefined && slots.total !== null) facts.push(["Task slots", `${slots.total} in workers, ${number(slots.free)} free`]);
  const from = [];
  const set = override.fixed ?? override.min ?? override.max ?? null;
  if (set !== null) from.push(`override by ${override.by || "unknown"}`);
  if (fleet.schedule) from.push(`schedule: ${fleet.schedule.description}`);
  const file = fleet.bounds ? `environment file${from.length ? `: ${fleet.bounds.min} to ${fleet.bounds.max}` : ""}` : "";
  facts.push(["Bounds", `${number(fleet.min)} to ${number(fleet.max)} workers (${[...from, file].filter(Boolean).join("; ") || "environment file"})`]);
  facts.push(["Overrides", fleet.overrides_state === "unknown" ? "cannot be read" : fleet.overrides ? `${override.by || "unknown"}${override.at ? `, ${clock(override.at)}` : ""}${override.reason ? `: “${override.reason}”` : ""}${override.until ? `, until ${clock(override.until)}` : ""}` : "none"]);
  const services = Object.entries(fleet.services || {}).filter(([, service]) => service.desired || service.running);
  if (services.length > 1) facts.push(["Rollout", services.map(([name, service]) => `${name}: ${number(service.running)} running${name === fleet.current ? " (new)" : ", drains to 0"}`).join("; ")]);
  const ages = Object.entries(fleet.readings || {});
  if (ages.length) facts.push(["Read", ages.map(([source, age]) => `${source} ${age === null ? "unknown" : age < 1 ? "now" : `${Math.round(age)} s ago`}`).join(", ")]);
  facts.push(["Unchanged since", `${clock(fleet.since)} (${plural(fleet.ticks, "tick")})`]);
  draw("facts", facts, () => facts.flatMap(([name, text]) => [h("dt", null, name), h("dd", null, text)]));
}
function renderToday(today) {
  const {known_minutes: known, minutes, worker_hours: used, worker_hours_at_maximum: full, usd, usd_at_maximum: most, worker_hour_usd: price} = today;
  draw("use", [known, used, full, usd, most], () => !known ? [] : [
    ...(usd === null ? [] : [tile(dollars(usd), "for running workers"), tile(dollars(most), "always at the maximum")]),
    tile(used.toFixed(1), "worker-hours"), tile(full.toFixed(1), "worker-hours at the maximum")]);
  const part = !known ? "No minute is known yet. " : known < minutes ? `Only ${duration(known)} of ${duration(minutes)} are known and counted. ` : "";
  $("use-note").textContent = `Since 00:00 UTC. ${part}` + (price === null ? "The price of a worker-hour is unknown." : `A worker-hour is ${price.toFixed(4)} USD at list price.`);
}
function dollars(usd) { return `${usd < 1000 ? usd.toFixed(2) : Math.round(usd)} USD`; }
function duration(minutes) { return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`; }
function renderDecisions() {
  const from = here.known && clock(here.known.since);
  draw("decisions", [from, here.decisions.map(decision => [decision.since, decision.ticks])], () => !here.decisions.length ? h("li", null, `None since ${from}.`) : here.decisions.map(decision => {
    const moved = decision.desired !== decision.desired_before, sent = decision.update_service;
    const extra = sent && !sent.sent ? [`Not written: ${sent.reason}`] : [];
    const details = h("details", null,
      h("summary", null, h("time", {datetime: decision.since}, clock(decision.since)), h("span", {class: "to"}, moved ? `${number(decision.desired_before)} → ${number(decision.desired)}` : `at ${number(decision.desired)}`),
        h("span", {class: `kind ${decision.kind in KINDS ? decision.kind : ""}`}, KINDS[decision.kind] || decision.kind), h("p", null, arrows(decision.reason))),
      h("ul", null, [...decision.explanation.map(step => `${step.name}: ${step.text}`), ...extra].map(text => h("li", null, arrows(text)))));
    details.open = here.open.has(decision.since);
    details.addEventListener("toggle", () => here.open[details.open ? "add" : "delete"](decision.since));
    return h("li", null, details);
  }));
}

// ---- the plot
const PAD = {left: 34, right: 12, top: 10, bottom: 24};
const TICKS = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 5400, 7200];
function visible() {  // not more time than there is
  const end = Math.floor(serverNow() / 1000), wanted = end - here.minutes * 60, points = here.points.filter(point => point.at >= wanted - 20);
  return {start: here.points.length ? Math.max(wanted, Math.min(here.points[0].at, end - 60)) : wanted, end, points};
}
function begins() {
  const [first] = here.points, {since, state, problem} = here.known, from = clock(first === undefined ? since : Math.max(Date.parse(since), first.at * 1000));
  if (first !== undefined && first.at * 1000 < serverNow() - here.minutes * 60000 + 90000) return "";
  return {reading: "Earlier decisions are being read from the log.", failed: `The history begins at ${from}: the log could not be read (${problem}).`,
    none: `The history begins at ${from}: the settings of the scaler name no log group.`, read: `The log has no decisions from before ${from}.`}[state];
}
function renderPlot() {
  const {start, end, points} = visible(), width = $("plot").clientWidth, height = width < 500 ? 190 : 240;
  if (!width) return;
  const fleet = here.fleet, largest = Math.max(1, ...points.flatMap(point => LINES.map(([key]) => point[key] ?? 0)));
  const bounded = fleet.max <= largest * 1.6, right = bounded ? 8 * `max ${fleet.max}`.length : PAD.right, top = niceTop(Math.max(largest, bounded ? fleet.max : 0));
  const frame = {start, end, points, width, height, top, right, x: at => PAD.left + (at - start) / (end - start) * (width - PAD.left - right),
    y: value => height - PAD.bottom - Math.min(value, top.value) / top.value * (height - PAD.top - PAD.bottom)};
  here.right = right;
  $("begins").textContent = begins();
  draw("plot", [start, width, points, here.cursor, fleet.max], () => picture(frame, bounded ? fleet.max : null));
  const index = here.cursor === null ? points.length - 1 : Math.min(here.cursor, points.length - 1);
  const point = here.cursor === null ? present(fleet) : points[index];
  draw("readout", [point, here.cursor === null], () => readout(point, here.cursor === null));
  const plot = $("plot");
  plot.setAttribute("aria-valuemax", Math.max(0, points.length - 1));
  plot.setAttribute("aria-valuenow", Math.max(0, index));
  plot.setAttribute("aria-valuetext", point ? `${clock(point.at * 1000)}: ${LINES.map(([key, word]) => `${word} ${number(point[key])}`).join(", ")}` : "no points yet");
}
function present(fleet) {
  const {draining, released} = fleet.workers || {};
  return {at: Date.parse(fleet.at) / 1000, needed: fleet.needed, desired: fleet.desired, running: fleet.running, draining: draining === null || draining === undefined ? null : draining + released};
}
function niceTop(value) {
  const rough = value / 4, scale = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  const step = Math.max(1, [1, 2, 5, 10].map(factor => factor * scale).find(step => step >= rough));
  return {step, value: Math.ceil(value / step) * step};
}
function picture({start, end, points, width, height, top, right, x, y}, bound) {
  const parts = [];
  for (let value = 0; value <= top.value; value += top.step) parts.push(s("line", {class: "grid", x1: PAD.left, x2: width - right, y1: y(value), y2: y(value)}),
    s("text", {x: PAD.left - 7, y: y(value) + 4, "text-anchor": "end"}, String(value)));
  const most = width < 500 ? 4 : 8, every = TICKS.find(step => (end - start) / step <= most), shift = new Date().getTimezoneOffset() * 60;
  for (let at = Math.ceil((start - shift) / every) * every + shift; at <= end; at += every)
    if (x(at) < width - right - 12) parts.push(s("text", {x: x(at), y: height - 6, "text-anchor": x(at) < PAD.left + 18 ? "start" : "middle"}, clock(at * 1000, every < 60)));
  if (bound !== null) parts.push(s("line", {class: "bound", x1: PAD.left, x2: width - right, y1: y(bound), y2: y(bound)}),
    s("text", {x: width - right + 4, y: y(bound) + 4}, `max ${bound}`));
  const area = pieces(points, "needed").map(piece => `M${Math.max(PAD.left, x(piece[0].at))},${y(0)}${path(piece, "needed", x, y, end).replace(/^M/, "L")}V${y(0)}Z`).join("");
  parts.push(s("path", {class: "a-needed", d: area}));
  for (const key of ["desired", "needed", "running", "draining"]) parts.push(s("path", {class: `s-${key}`, d: pieces(points, key).map(piece => path(piece, key, x, y, end)).join("")}));
  const point = here.cursor === null ? null : points[Math.min(here.cursor, points.length - 1)];
  if (point) parts.push(s("line", {class: "cursor", x1: x(point.at), x2: x(point.at), y1: PAD.top, y2: height - PAD.bottom}));
  return s("svg", {viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true"}, ...parts);
}
function pieces(points, key) {  // an unknown value is a gap in the line
  const found = [];
  let piece = [];
  const longest = Math.max(90, 60 + 2 * here.fleet.interval_s);  // the log has a line a minute
  for (const point of points) {
    const gap = piece.length && point.at - piece[piece.length - 1].at > longest;
    if ((point[key] === null || gap) && piece.length) { found.push(piece); piece = []; }
    if (point[key] !== null) piece.push(point);
  }
  return piece.length ? [...found, piece] : found;
}
function path(piece, key, x, y, end) {
  const last = piece[piece.length - 1];
  const from = at => Math.max(PAD.left, x(at)).toFixed(1);
  return piece.map((point, index) => index ? `H${from(point.at)}V${y(point[key]).toFixed(1)}` : `M${from(point.at)},${y(point[key]).toFixed(1)}`).join("") +
    `H${from(Math.min(end, last.at + 20))}`;
}
function readout(point, live) {
  if (!point) return h("span", null, "The plot starts with the first decision.");
  return [h("time", null, live ? "now" : clock(point.at * 1000)), ...LINES.map(([key, word]) =>
    h("span", null, s("svg", {viewBox: "0 0 22 10", "aria-hidden": "true"}, s("line", {class: `s-${key}`, x1: 0, x2: 22, y1: 5, y2: 5})), `${word} ${number(point[key])}`))];
}
function pointAt(event) {
  const {start, end, points} = visible(), box = $("plot").getBoundingClientRect();
  if (!points.length) return null;
  const at = start + (event.clientX - box.left - PAD.left) / (box.width - PAD.left - here.right) * (end - start);
  return points.reduce((best, point, index) => Math.abs(point.at - at) < Math.abs(points[best].at - at) ? index : best, 0);
}
function move(cursor) { here.cursor = cursor; if (here.fleet) renderPlot(); }
for (const kind of ["pointermove", "pointerdown"]) $("plot").addEventListener(kind, event => move(pointAt(event)));
$("plot").addEventListener("pointerleave", event => { if (event.pointerType === "mouse") move(null); });
$("plot").addEventListener("blur", () => move(null));
$("plot").addEventListener("keydown", event => {
  const last = visible().points.length - 1, from = here.cursor ?? last;
  const to = {ArrowLeft: from - 1, ArrowDown: from - 1, ArrowRight: from + 1, ArrowUp: from + 1, PageDown: from - 15, PageUp: from + 15, Home: 0, End: last}[event.key];
  if (event.key === "Escape") move(null);
  if (to === undefined || last < 0) return;
  event.preventDefault();
  move(Math.min(last, Math.max(0, to)));
});
for (const button of document.querySelectorAll("[data-minutes]")) button.addEventListener("click", () => {
  for (const other of document.querySelectorAll("[data-minutes]")) other.setAttribute("aria-pressed", String(other === button));
  here.minutes = Number(button.dataset.minutes);
  move(null);
});

// ---- the loop
let timer = 0;
async function loop() {
  clearTimeout(timer);
  const mine = ++loop.turns;
  if (!document.hidden) await refresh();
  if (mine === loop.turns) timer = setTimeout(loop, POLL_MS);
}
loop.turns = 0;
for (const id of ["search", "sort"]) $(id).addEventListener("input", render);
addEventListener("hashchange", () => { choose(); render(); scrollTo(0, 0); loop(); });
addEventListener("resize", () => { if (here.fleet) renderPlot(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) { here.awake = Date.now(); loop(); } });
setInterval(() => { if (!document.hidden) render(); }, 1000);
loop();
