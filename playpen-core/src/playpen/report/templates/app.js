// The list of episodes and the reader, for a report (episodes are in the page) and for the viewer
// (they are fetched).  Text of models gets into the page through textContent only.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") node.textContent = value;
      else if (name === "onclick") node.addEventListener("click", value);
      else if (value !== null && value !== false) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };

  // --- text of others -----------------------------------------------------------------------

  // Controls, what turns the direction of writing, and what cannot be seen at all.
  const HIDDEN = new RegExp("[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b"
    + "\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}"
    + "\\ud800-\\udfff]", "gu");
  const code = (character) => {
    const number = character.codePointAt(0);
    return number < 256 ? `\\x${number.toString(16).padStart(2, "0")}`
      : number < 65536 ? `\\u${number.toString(16).padStart(4, "0")}` : `\\u{${number.toString(16)}}`;
  };
  function visible(text) {
    return text.replace(HIDDEN, code);
  }

  // --- colours of the page ---------------------------------------------------------------------

  const THEMES = { system: "as the system has them", light: "light", dark: "dark" };
  const theme = byId("theme");
  const remembered = () => {
    try {
      return localStorage.getItem("playpen-theme");
    } catch {
      return null; // a browser may refuse that to a file
    }
  };
  const setTheme = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    theme.textContent = `Colours: ${name}`;
    theme.setAttribute("aria-label", `Colours: ${THEMES[name]}`);
    try {
      localStorage.setItem("playpen-theme", name);
    } catch {
      // Then it is not kept.
    }
  };
  let themeName = remembered();
  if (!(themeName in THEMES)) themeName = "system";
  setTheme(themeName);
  theme.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    themeName = names[(names.indexOf(themeName) + 1) % names.length];
    setTheme(themeName);
  });

  const percent = (part, whole) => (whole ? `${Math.round((100 * part) / whole)} %` : "-");

  const fetched = async (path, query) => {
    const response = await fetch(`${path}?${new URLSearchParams(query)}`);
    if (!response.ok) throw new Error(await response.text());
    return response.json();
  };

  const POLL = 2000;

  // --- the list of runs (viewer) ---------------------------------------------------------------

  const ago = (seconds) => seconds === null ? "-"
    : seconds < 5 ? "just now"
      : seconds < 120 ? `${Math.round(seconds)} s ago`
        : seconds < 7200 ? `${Math.round(seconds / 60)} min ago`
          : seconds < 172800 ? `${Math.round(seconds / 3600)} h ago`
            : `${Math.round(seconds / 86400)} days ago`;

  const runRow = (run, ticked) => {
    const t = run.total;
    const box = make("input", { type: "checkbox", name: "r", value: run.id,
      "aria-label": `choose ${visible(run.name)}` });
    box.checked = ticked.has(run.id);
    const state = !t.planned ? "nothing planned" : t.finished >= t.planned ? "complete"
      : `${t.finished} of ${t.planned}`;
    const games = run.games.length > 3 ? `${run.games.length} games` : run.games.join(", ");
    const bar = make("progress", { max: Math.max(t.planned, 1), value: t.finished,
      "aria-label": `played: ${state}` });
    return make("tr", {},
      make("th", { scope: "row" }, make("label", { class: "pick" }, box,
        make("a", { href: `/runs?r=${run.id}`, dir: "auto", text: visible(run.name) })),
        ...(run.problem ? [make("p", { class: "notice warn", text: visible(run.problem) })] : [])),
      make("td", { class: "about" },
        make("div", { dir: "auto", text: visible(games), title: visible(run.games.join(", ")) }),
        make("small", { dir: "auto", text: visible(run.players.join(", ")) })),
      make("td", { class: "bar" }, bar, make("div", {}, make("small", { text: state
        + (t.failed ? `, ${t.failed} failed` : "") }))),
      ...[["% played", percent(t.finished - t.abort, t.finished)],
        ["won", percent(t.success, t.finished)],
        ["mean score", t.mean === null ? "-" : t.mean.toFixed(2)], ["last", ago(run.idle)]]
        .map(([label, text]) => make("td", { class: "n", "data-label": label, text })));
  };

  const trainingRow = (training) => make("tr", {},
    make("th", { scope: "row" },
      make("a", { href: `/training?t=${training.id}`, dir: "auto", text: visible(training.name) }),
      ...(training.problem
        ? [make("p", { class: "notice warn", text: visible(training.problem) })] : [])),
    make("td", { text: visible(training.trainer ?? "-") }),
    make("td", { class: "n", text: String(training.steps ?? "-") }),
    make("td", { text: visible(Object.entries(training.last ?? {})
      .map(([name, value]) => `${name} ${value.toPrecision(3)}`).join(", ")) }));

  const index = async () => {
    try {
      const { runs, trainings } = await fetched("/api/runs", {});
      const table = byId("index").tBodies[0];
      const ticked = new Set([...table.querySelectorAll(":checked")].map((box) => box.value));
      const focused = document.activeElement?.value;
      table.replaceChildren(...runs.map((run) => runRow(run, ticked)));
      if (focused) table.querySelector(`input[value="${CSS.escape(focused)}"]`)?.focus();
      byId("index-form").hidden = !runs.length;
      byId("training-list").hidden = !trainings.length;
      byId("training-list").querySelector("tbody").replaceChildren(...trainings.map(trainingRow));
      byId("state").textContent = runs.length || trainings.length ? "" : "There are no runs here yet.";
      byId("lost").hidden = true;
    } catch {
      byId("lost").hidden = false;
    }
    setTimeout(index, POLL);
  };

  if (byId("index")) index();
  if (!byId("episodes")) return;

  // --- where episodes come from ----------------------------------------------------------------

  const settings = JSON.parse(byId("settings").textContent);
  const RUNS = settings.runs;
  const FIELDS = ["run", "game", "experiment", "id", "instance", "repeat", "outcome", "reason",
    "fault", "message", "score", "replies", "piece", "place"];
  const OUTCOMES = { success: "won", lose: "lost", abort: "aborted", error: "failed" };
  const rows = []; // in the order of the list
  const byKey = new Map();
  const twins = new Map(); // game and instance: rows of all runs
  const counted = RUNS.map(() => 0);

  const addRow = (values) => {
    const row = Object.fromEntries(FIELDS.map((field, i) => [field, values[i]]));
    row.number = counted[row.run]++;
    row.key = `${row.run}.${row.number}`;
    row.name = `${row.game}/${row.experiment}/${row.id}` + (row.repeat ? `#${row.repeat}` : "");
    row.twins = `${row.game}\n${row.instance}`;
    row.haystack = [row.name, RUNS[row.run].name, row.reason, row.fault, row.message]
      .join("\n").toLowerCase();
    byKey.set(row.key, row);
    if (!twins.has(row.twins)) twins.set(row.twins, []);
    twins.get(row.twins).push(row);
    return row;
  };

  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };

  const embedded = () => {
    const packed = document.getElementsByClassName("piece");
    const kept = new Map(); // the last few pieces
    const piece = async (number) => {
      if (!kept.has(number)) {
        kept.set(number, await unpacked(packed[number].textContent));
        if (kept.size > 4) kept.delete(kept.keys().next().value);
      }
      return kept.get(number);
    };
    return {
      async load() {
        for (const values of await unpacked(byId("rows").textContent)) rows.push(addRow(values));
      },
      async transcript(row) {
        const { texts, transcripts } = await piece(row.piece);
        const found = transcripts[row.place];
        const whole = (line) => {
          const copy = { ...line };
          for (const name of ["t", "reasoning", "raw"]) {
            if (typeof copy[name] === "number") copy[name] = texts[copy[name]];
          }
          return copy;
        };
        return { ...found, lines: found.lines.map(whole) };
      },
      async search(query, found, goOn) {
        const inPiece = new Map();
        for (const row of rows) {
          if (!inPiece.has(row.piece)) inPiece.set(row.piece, []);
          inPiece.get(row.piece).push(row);
        }
        for (const [number, own] of inPiece) {
          const { texts, transcripts } = await piece(number);
          const hits = new Set();
          texts.forEach((text, i) => {
            if (text.toLowerCase().includes(query)) hits.add(i);
          });
          if (hits.size) {
            for (const row of own) {
              const { lines } = transcripts[row.place];
              if (lines.some((x) => hits.has(x.t) || hits.has(x.reasoning) || hits.has(x.raw))) {
                found.add(row.key);
              }
            }
          }
          if (!goOn((number + 1) / inPiece.size)) return;
          await new Promise((done) => setTimeout(done)); // the page stays usable
        }
      },
    };
  };

  const addLatest = (values) => {
    const row = addRow(values);
    // An attempt that failed was made again.
    const retried = twins.get(row.twins).find((other) => other !== row && other.run === row.run
      && other.repeat === row.repeat && other.outcome === "error");
    if (retried) {
      rows.splice(rows.indexOf(retried), 1);
      twins.set(row.twins, twins.get(row.twins).filter((other) => other !== retried));
    }
    rows.unshift(row);
  };

  const live = () => ({
    async load() {
      let more = true;
      let news = false;
      while (more) {
        more = false;
        for (const [number, run] of RUNS.entries()) {
          const answer = await fetched("/api/rows", { run: run.id, from: counted[number] });
          run.generation ??= answer.generation;
          if (answer.generation !== run.generation) {
            location.reload(); // another run is in its place
            return false;
          }
          for (const values of answer.rows) addLatest([number, ...values.slice(1)]);
          news = news || answer.rows.length > 0;
          more = more || counted[number] < answer.total;
          showProgress(number, answer);
        }
      }
      return news;
    },
    transcript: (row) => fetched("/api/episode", { run: RUNS[row.run].id, number: row.number }),
    async search(query, found, goOn) {
      for (const [number, run] of RUNS.entries()) {
        const { numbers } = await fetched("/api/search", { run: run.id, text: query });
        for (const n of numbers) found.add(`${number}.${n}`);
        if (!goOn((number + 1) / RUNS.length)) return;
      }
    },
  });

  const showProgress = (number, answer) => {
    const card = byId(`run-${number}`);
    const { progress: p } = answer;
    const bar = card.querySelector("progress");
    bar.max = Math.max(p.planned, 1);
    bar.value = p.finished;
    card.querySelector(".state").textContent = p.finished >= p.planned
      ? "complete" : `${p.finished + p.failed} of ${p.planned} played`;
    card.querySelector(".problem").textContent = answer.problem;
    card.querySelector(".problem").hidden = !answer.problem;
    const row = (game, c) => make("tr", {},
      make("th", { scope: "row", text: game }),
      ...[["episodes", `${c.finished} of ${c.planned}`],
        ["% played", percent(c.finished - c.abort, c.finished)],
        ["% won", percent(c.success, c.finished)],
        ["mean score", c.mean === null ? "-" : c.mean.toFixed(2)],
        ["won", c.success], ["lost", c.lose], ["aborted", c.abort], ["failed", c.failed]]
        .map(([label, text]) => make("td", { class: "n", "data-label": label, text })));
    const games = Object.entries(answer.games).map(([game, c]) => row(game, c));
    if (games.length > 1) games.push(row("all games", p));
    card.querySelector("tbody").replaceChildren(...games);
  };

  const source = settings.live ? live() : embedded();

  // --- state: what is shown, kept in the address -----------------------------------------------

  const form = byId("filters");
  const PER_PAGE = 50;
  let state = {};
  let shown = []; // the rows that pass the filters
  let hits = null; // keys of episodes whose transcripts hold the text
  let searched = "";
  let opener = null; // what had the focus before the reader was opened

  const readAddress = () => {
    const query = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
    state = Object.fromEntries(
      ["run", "game", "outcome", "reason", "q", "differs", "page", "e", "with"]
        .map((name) => [name, query.get(name) ?? ""]));
  };

  const writeAddress = () => {
    const query = new URLSearchParams(Object.entries(state).filter(([, value]) => value));
    const hash = query.size ? `#?${query}` : " ";
    history.replaceState(null, "", query.size ? hash : location.pathname + location.search);
  };

  const option = (value, text) => make("option", { value, text });

  const fillSelect = (select, all, counts, label) => {
    const chosen = state[select.name];
    if (select === document.activeElement && select.options.length) {
      select.value = chosen; // an open list stays as it is
      return;
    }
    const names = [...counts.keys()].sort((a, b) => (a < b ? -1 : 1));
    if (chosen && !counts.has(chosen)) names.push(chosen);
    select.replaceChildren(option("", all),
      ...names.map((name) => option(name, `${label(name)} (${counts.get(name) ?? 0})`)));
    select.value = chosen;
  };

  const tally = (of) => {
    const counts = new Map();
    for (const row of rows) {
      const name = of(row);
      if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  };

  const fillFilters = () => {
    fillSelect(form.run, "all", tally((row) => String(row.run)), (n) => RUNS[n]?.name ?? n);
    fillSelect(form.game, "all", tally((row) => row.game), visible);
    fillSelect(form.outcome, "all", tally((row) => row.outcome), (o) => OUTCOMES[o] ?? o);
    fillSelect(form.reason, "all", tally((row) => row.reason), visible);
    if (form.q !== document.activeElement) form.q.value = state.q;
    form.differs.checked = Boolean(state.differs);
    for (const node of document.querySelectorAll("#episodes [data-for]")) {
      node.hidden = RUNS.length < 2;
    }
  };

  const differs = (row) => {
    const same = twins.get(row.twins);
    return same.some((other) => other.run !== row.run && other.repeat === row.repeat
      && other.outcome !== row.outcome);
  };

  const passes = (row) =>
    (!state.run || String(row.run) === state.run)
    && (!state.game || row.game === state.game)
    && (!state.outcome || row.outcome === state.outcome)
    && (!state.reason || row.reason === state.reason)
    && (!state.differs || differs(row))
    && (!state.q || row.haystack.includes(state.q.toLowerCase()) || hits?.has(row.key));

  const search = async (again = false) => {
    const query = state.q.toLowerCase();
    if (query === searched && !again) return;
    searched = query;
    if (!again) hits = null;
    if (query.length < 2) return;
    const found = new Set();
    try {
      await source.search(query, found, (share) => {
        if (searched !== query) return false;
        hits = found;
        showList(share < 1 ? ` Searching the transcripts: ${Math.round(100 * share)} %` : "");
        return true;
      });
    } catch (error) {
      showList(` The transcripts were not searched: ${error.message}.`);
    }
  };

  // --- the list --------------------------------------------------------------------------------

  const badge = (row) => make("span", { class: `badge ${row.outcome}` },
    OUTCOMES[row.outcome] ?? row.outcome);

  const why = (row) => {
    const by = row.fault ? ` by ${row.fault}` : "";
    return row.reason || by ? visible(`${row.reason}${by}`.trim()) : "";
  };

  const rounded = (score) => (score === null ? "-" : String(Math.round(score * 100) / 100));

  const runMark = (number) => [
    make("i", { class: `dot series-${number % 8}`, "aria-hidden": "true" }),
    visible(RUNS[number].name)];

  const listRow = (row) => make("tr", {},
    make("td", { class: "name" },
      make("button", { type: "button", class: "open", dir: "auto", text: visible(row.name),
        "data-key": row.key, onclick: () => open(row.key) })),
    ...(RUNS.length > 1 ? [make("td", { class: "of-run" }, ...runMark(row.run))] : []),
    make("td", { class: "of-outcome" }, badge(row), " ",
      make("span", { class: "why", dir: "auto", text: why(row), title: visible(row.message) })),
    make("td", { class: "n of-score", "data-label": "score", text: rounded(row.score) }),
    make("td", { class: "n of-replies", "data-label": "replies", text: String(row.replies) }));

  const showList = (note = "") => {
    shown = rows.filter(passes);
    const pages = Math.max(Math.ceil(shown.length / PER_PAGE), 1);
    const page = Math.min(Math.max(Number(state.page) || 1, 1), pages);
    state.page = page > 1 ? String(page) : "";
    const first = (page - 1) * PER_PAGE;
    const part = shown.slice(first, first + PER_PAGE);
    const focused = document.activeElement?.dataset?.key;
    byId("list").tBodies[0].replaceChildren(...part.map(listRow));
    if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    byId("list").hidden = !part.length;
    byId("count").textContent = (shown.length === rows.length
      ? `${rows.length} episodes.` : `${shown.length} of ${rows.length} episodes.`) + note;
    byId("pages").hidden = pages < 2;
    byId("place").textContent = `Page ${page} of ${pages}`;
    byId("before").disabled = page === 1;
    byId("after").disabled = page === pages;
  };

  const refresh = () => {
    fillFilters();
    if (state.q.toLowerCase() !== searched) search();
    showList();
  };

  const filtered = () => {
    for (const name of ["run", "game", "outcome", "reason", "q"]) state[name] = form[name].value;
    state.differs = form.differs.checked ? "1" : "";
    state.page = "";
    writeAddress();
    search();
    showList();
  };

  let typing = 0;
  form.addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(filtered, event.target === form.q ? 250 : 0);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filtered));
  const turn = (by) => {
    state.page = String((Number(state.page) || 1) + by);
    showList();
    writeAddress();
    byId("episodes").scrollIntoView();
  };
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));

  // --- transcripts -----------------------------------------------------------------------------

  // Three lines of single characters, or lines that frame something: columns must stay columns.
  const GRID = /(?:^\S(?: \S){2,} *(?:\n|$)){3}|[\u2500-\u257f]{2}|^[|+].*[|+]$/m;
  const FIRST = 4000;
  const STEP = 50000;
  const MOST_MARKS = 300;

  const marked = (text) => {
    const nodes = [];
    let end = 0;
    for (const match of text.matchAll(HIDDEN)) {
      if (nodes.length > MOST_MARKS) break; // the others are written, too, but not marked
      nodes.push(text.slice(end, match.index),
        make("span", { class: "hidden-character", text: code(match[0]) }));
      end = match.index + match[0].length;
    }
    nodes.push(visible(text.slice(end)));
    return nodes;
  };

  const textBox = (text) => {
    if (!text) return make("div", { class: "text muted", text: "(empty)" });
    const body = make("div", { class: GRID.test(text.slice(0, FIRST)) ? "text grid" : "text",
      dir: "auto" });
    const box = make("div", {}, body);
    let done = 0;
    const more = make("button", { type: "button", class: "more", onclick: () => extend(STEP) });
    const extend = (count) => {
      let end = Math.min(done + count, text.length);
      if (end < text.length && /[\ud800-\udbff]/.test(text[end - 1])) end += 1;
      body.append(...marked(text.slice(done, end)));
      done = end;
      const left = text.length - done;
      more.textContent = `Show ${Math.min(left, STEP).toLocaleString("en")} more of `
        + `${left.toLocaleString("en")} characters`;
      if (!left) more.remove();
    };
    if (text.length > FIRST) box.append(more);
    extend(FIRST);
    return box;
  };

  // --- the reader ------------------------------------------------------------------------------

  const folded = (title, text) =>
    make("details", { class: "folded" }, make("summary", { text: title }), textBox(text));

  const SHORT = 90; // a longer note is folded
  const TO = { ask: "", side: ", a side question", tell: ", with the next question",
    fixed: ", fixed" };

  const lineNode = (line, colours) => {
    const role = visible(line.r ?? "");
    const text = line.t ?? "";
    const aside = visible(line.aside ?? "");
    if (line.k in TO) {
      return make("article", { class: "bubble master" },
        make("h4", { text: `game master → ${role}${TO[line.k]}` }), textBox(text));
    }
    if (line.k === "reply" || line.k === "answer") {
      const note = line.k === "answer" ? ", fixed" : aside ? `, stopped: ${aside}` : "";
      return make("article", { class: `bubble player series-${colours.get(line.r) ?? 0}` },
        make("h4", { text: role + note }),
        ...(line.reasoning ? [folded("Reasoning", line.reasoning)] : []),
        textBox(text),
        ...(line.raw ? [folded("As generated", line.raw)] : []));
    }
    if (line.k === "round") {
      return make("p", { class: "round", text: `round ${text}` });
    }
    if (line.k === "violation") {
      const again = aside.endsWith("+");
      return make("div", { class: "event violation" },
        make("b", { text: `${role} broke a rule` }), ` (${again ? aside.slice(0, -1) : aside}): `,
        make("bdi", {}, textBox(text)), again ? "; asked again" : "");
    }
    if (line.k === "reward") {
      return make("p", { class: "event reward", text: `reward of ${role}: ${text}` });
    }
    const note = line.k === "drawn" ? `drawn: ${text}` : text;
    if (note.length <= SHORT) return make("div", { class: "event" }, textBox(note));
    return make("details", { class: "event" },
      make("summary", { dir: "auto", text: `${visible(note.slice(0, SHORT))} …` }), textBox(note));
  };

  const LINES = 300;

  const column = (row, found) => {
    const colours = new Map(Object.keys(found.players).map((role, i) => [role, i % 8]));
    const chat = make("div", { class: "chat" });
    let done = 0;
    const more = make("button", { type: "button", class: "more", onclick: () => extend() });
    const extend = () => {
      const part = found.lines.slice(done, done + LINES);
      more.before(...part.map((line) => lineNode(line, colours)));
      done += part.length;
      more.textContent = `Show more (${found.lines.length - done} lines left)`;
      if (done >= found.lines.length) more.remove();
    };
    chat.append(more);
    extend();
    const players = Object.entries(found.players).map(([role, player]) => make("li", {},
      make("i", { class: `dot series-${colours.get(role)}`, "aria-hidden": "true" }),
      make("b", { dir: "auto", text: visible(role) }), " ",
      make("span", { dir: "auto", text: visible(player) })));
    const scores = Object.entries(found.role_scores)
      .map(([role, score]) => `${visible(role)}: ${rounded(score)}`).join(", ");
    const facts = [`rules ${found.rules || "-"}`, `seed ${found.seed}`,
      ...(found.split ? [`split ${found.split}`] : []),
      ...(found.attempts > 1 ? [`attempt ${found.attempts}`] : []),
      ...(found.seconds >= 0.05 ? [`${found.seconds.toFixed(1)} s`] : [])];
    const message = make("span", { dir: "auto", class: "message" });
    message.append(...marked(row.message.slice(0, 2000)));
    const ending = () => [badge(row), " ", make("bdi", { text: why(row) }),
      ...(row.message ? [why(row) ? ": " : "", message] : []),
      ...(row.score === null ? [] : [`${why(row) || row.message ? "," : ""} score `,
        rounded(row.score)]),
      scores ? ` (${scores})` : ""];
    return make("section", { class: "column", "aria-label": visible(RUNS[row.run].name) },
      make("header", {},
        make("h3", { dir: "auto" }, ...runMark(row.run)),
        make("ul", { class: "players" }, ...players),
        make("p", { class: "muted", dir: "auto", text: visible(facts.join(", ")) }),
        make("p", { class: "ending" }, ...ending())),
      chat,
      make("p", { class: "ending last" }, badge(row), " ", make("bdi", { text: why(row) })));
  };

  const reader = byId("reader");
  let asked = 0;

  const showReader = async () => {
    const row = byKey.get(state.e);
    if (!row) {
      if (reader.open) reader.close();
      return;
    }
    const beside = byKey.get(state.with);
    const mine = ++asked;
    const columns = byId("columns");
    byId("reader-title").textContent = visible(row.name);
    const others = twins.get(row.twins).filter((other) => other !== row);
    byId("other").replaceChildren(
      option("", others.length ? "nothing" : "(played once only)"),
      ...others.map((other) => option(other.key, visible(
        `${RUNS[other.run].name}${other.repeat || row.repeat ? `, repeat ${other.repeat}` : ""}: `
        + (OUTCOMES[other.outcome] ?? other.outcome)))));
    byId("other").disabled = !others.length;
    byId("other").value = others.includes(beside) ? state.with : "";
    const place = shown.indexOf(row);
    byId("earlier").disabled = place <= 0;
    byId("later").disabled = place < 0 || place >= shown.length - 1;
    if (!reader.open) {
      reader.showModal();
      byId("reader-title").focus();
    }
    try {
      const wanted = others.includes(beside) ? [row, beside] : [row];
      const found = await Promise.all(wanted.map((one) => source.transcript(one)));
      if (mine !== asked) return;
      columns.replaceChildren(...wanted.map((one, i) => column(one, found[i])));
      columns.classList.toggle("two", wanted.length > 1);
    } catch (error) {
      columns.replaceChildren(make("p", { class: "notice warn",
        text: `The episode cannot be shown: ${error.message}` }));
    }
    reader.scrollTop = 0;
  };

  const open = (key) => {
    opener = document.activeElement?.dataset?.key ?? opener;
    const before = byKey.get(state.with);
    state.e = key;
    const row = byKey.get(key);
    // The other run stays beside it.
    const other = before && twins.get(row.twins)
      .filter((one) => one.run === before.run && one !== row)
      .sort((a, b) => Math.abs(a.repeat - row.repeat) - Math.abs(b.repeat - row.repeat))[0];
    if (before && other) state.with = other.key;
    writeAddress();
    showReader();
  };

  const step = (by) => {
    const row = shown[shown.indexOf(byKey.get(state.e)) + by];
    if (row) open(row.key);
  };

  byId("earlier").addEventListener("click", () => step(-1));
  byId("later").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => reader.close());
  byId("other").addEventListener("change", () => {
    state.with = byId("other").value;
    writeAddress();
    showReader();
  });
  reader.addEventListener("close", () => {
    asked += 1;
    state.e = "";
    state.with = "";
    writeAddress();
    byId("columns").replaceChildren();
    if (opener) document.querySelector(`[data-key="${CSS.escape(opener)}"]`)?.focus();
  });
  reader.addEventListener("keydown", (event) => {
    if (event.target.closest("select, input") || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
  });

  // --- start -----------------------------------------------------------------------------------

  const arrive = () => {
    readAddress();
    refresh();
    showReader();
  };

  window.addEventListener("hashchange", () => {
    if (location.hash.startsWith("#?")) arrive();
  });

  const poll = async () => {
    try {
      if (await source.load()) {
        refresh();
        search(true);
      }
      byId("lost").hidden = true;
    } catch {
      byId("lost").hidden = false;
    }
    setTimeout(poll, POLL);
  };

  const start = async () => {
    try {
      await source.load();
    } catch (error) {
      byId("count").textContent = `The episodes cannot be shown: ${error.message}`;
      return;
    }
    arrive();
    if (location.hash.startsWith("#?")) byId("episodes").scrollIntoView();
    if (settings.live) setTimeout(poll, POLL);
  };
  start();
})();
