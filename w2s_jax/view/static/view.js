"use strict";
// The tabs of the page. What is shown is in the address, so that a link leads back to it.

const w2s = (() => {
  const TABS = ["report", "grid", "cell", "examples", "stages"];
  const LIVE = document.body.dataset.live === "yes", VERSION = document.body.dataset.version;
  const SCALE = 10000, PAGE = 50, SURE = 9000, LONG = 1200;
  const parts = new Map(), waiting = new Map();

  // ---- Parts: scripts that call `part`, so that they load from a disk too.

  function part(name, value) {
    parts.set(name, value);
    waiting.get(name)?.(value);
  }

  function load(name, again = false) {
    if (parts.has(name) && !again) return Promise.resolve(parts.get(name));
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `data/${name}.js${LIVE ? `?v=${VERSION}&t=${again ? Date.now() : 0}` : ""}`;
      script.onload = () => { waiting.delete(name); script.remove(); };
      script.onerror = () => { waiting.delete(name); script.remove(); reject(new Error(`data/${name}.js cannot be read`)); };
      waiting.set(name, resolve);
      document.head.append(script);
    }).then((value) => {
      if (!value?.problem) return value;
      parts.delete(name); // it may be there the next time
      throw new Error(value.problem);
    });
  }

  // ---- The address

  function address() {
    const [tab, query = ""] = location.hash.slice(1).split("?");
    return { tab: TABS.includes(tab) ? tab : "report", at: new URLSearchParams(query), anchor: tab };
  }

  function link(tab, values) {
    const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
    return `#${tab}?${new URLSearchParams(kept)}`;
  }

  // ---- Elements: all text goes in as text, never as markup.

  function el(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  function choice(label, options, chosen, change) {
    const select = el("select", { onchange: (event) => change(event.target.value) });
    for (const [value, text] of options) {
      select.append(el("option", { value, selected: String(value) === String(chosen) }, text));
    }
    return el("label", {}, label, select);
  }

  function table(head, rows, name = "numbers") {
    const body = rows.map((row) =>
      el("tr", {}, row.map((cell, place) => el(place ? "td" : "th", place ? {} : { scope: "row" }, cell))));
    const heads = head.map((cell) => el("th", { scope: "col" }, cell));
    const whole = el("table", { class: name }, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, body));
    return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": head.join(", ") }, whole);
  }

  const unique = (values) => [...new Set(values)];
  const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const signed = (value, digits = 3) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
  const ends = (low, high, digits) =>
    `[${low === null ? "−∞" : low.toFixed(digits)}, ${high === null ? "∞" : high.toFixed(digits)}]`;
  const quiet = (text) => el("p", { class: "quiet" }, text);

  function duration(seconds) {
    if (seconds < 90) return `${Math.round(seconds)} s`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  }

  // The one of a list that has the fields that were just chosen, and as many of the others as there are.
  function nearest(list, fields, at, chosen = {}) {
    const has = (each, name, value) => value !== null && value !== undefined && String(each[name]) === String(value);
    const able = list.filter((each) => Object.entries(chosen).every(([name, value]) => !fields.includes(name) || has(each, name, value)));
    const score = (each) => fields.filter((name) => has(each, name, at[name])).length;
    return (able.length ? able : list).reduce((best, each) => (score(each) > score(best) ? each : best));
  }

  const fieldsOf = (each, fields) => Object.fromEntries(fields.map((name) => [name, each[name]]));

  // ---- Grid

  const matches = (each, key) =>
    each.task === key.task && each.supervisor === key.supervisor && each.student === key.student;

  async function finished(runs) {
    const numbers = runs.map((_, place) => place).filter((place) => runs[place].finished);
    return Promise.all(numbers.map(async (place) => ({ place, found: await load(`results-${place}`) })));
  }

  async function showGrid(panel, at) {
    const loaded = await finished(await load("runs"));
    if (!loaded.length) return panel.replaceChildren(quiet("No run has results yet: see the stages, and reload this page when one has ended."));
    const metrics = loaded[0].found.metrics;
    const kinds = [
      ["pgr.accuracy", "PGR of accuracy"],
      ["pgr.auroc", "PGR of AUROC"],
      ...metrics.map((metric) => [metric.name, `student's ${metric.title}`]),
    ];
    const kind = kinds.some(([name]) => name === at.get("of")) ? at.get("of") : "pgr.accuracy";
    const choices = el("div", { class: "choices" },
      choice("shows", kinds, kind, (value) => { location.hash = link("grid", { of: value }); }));
    const content = [choices, quiet(explained(kind, metrics))];
    for (const { place, found } of loaded) {
      if (loaded.length > 1) content.push(el("h2", {}, found.name));
      content.push(heatMap(place, found, kind));
    }
    panel.replaceChildren(...content);
  }

  function explained(kind, metrics) {
    if (kind.startsWith("pgr")) {
      return "PGR = (student − supervisor) / (ceiling − supervisor), over seeds, with its 95% interval. Blue is above 0, " +
        "orange below; where supervisor and ceiling are not apart there is no PGR, and the cell says why. Choose a cell to see what is behind it.";
    }
    const metric = metrics.find((each) => each.name === kind);
    const better = metric.better === "zero" ? "best at 0" : `${metric.better} is better`;
    return `${metric.title}: ${metric.formula} (${better}). Mean over seeds ± standard error; darker is larger.`;
  }

  function heatMap(place, found, kind) {
    const methods = unique(found.summaries.map((each) => each.method));
    const rows = unique(found.summaries.map((each) => JSON.stringify([each.task, each.supervisor, each.student])));
    const values = found.summaries.map((each) => plain(each, kind)).filter((value) => value !== null);
    const body = rows.map((row) => {
      const [task, supervisor, student] = JSON.parse(row);
      const key = { task, supervisor, student };
      const name = el("th", { scope: "row" }, task, el("div", { class: "quiet" }, `${supervisor} → ${student}`));
      return el("tr", {}, name, methods.map((method) => {
        const summary = found.summaries.find((each) => matches(each, key) && each.method === method);
        if (!summary) return el("td", { class: "undefined" }, el("span", { class: "empty" }, "missing", el("small", {}, "a stage failed, or was not run")));
        return heatCell(link("cell", { run: place, ...key, method }), summary, kind, values);
      }));
    });
    const head = el("tr", {}, el("th", { scope: "col" }, "task, pair"), methods.map((method) => el("th", { scope: "col" }, method)));
    const whole = el("table", { class: "heat" }, el("thead", {}, head), el("tbody", {}, body));
    return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `grid of ${found.name}` }, whole);
  }

  function plain(summary, kind) {
    if (kind.startsWith("pgr.")) return summary.pgr[kind.slice(4)].value;
    return summary.scores[kind]?.student?.value ?? null;
  }

  function heatCell(target, summary, kind, values) {
    const value = plain(summary, kind);
    if (value === null) {
      const why = kind.startsWith("pgr.") ? summary.pgr[kind.slice(4)].reason : "undefined here";
      return el("td", { class: "undefined" }, el("a", { href: target }, "undefined", el("small", {}, why)));
    }
    if (kind.startsWith("pgr.")) {
      const pgr = summary.pgr[kind.slice(4)];
      const share = Math.round(Math.min(Math.abs(value), 1) * 55);
      const colour = `color-mix(in srgb, var(${value < 0 ? "--bad" : "--good"}) ${share}%, var(--paper))`;
      const shown = el("a", { href: target }, value.toFixed(2), el("small", {}, ends(pgr.low, pgr.high, 2)));
      return el("td", { style: `background: ${colour}` }, shown);
    }
    const low = Math.min(...values), high = Math.max(...values);
    const share = Math.round((high > low ? (value - low) / (high - low) : 0.5) * 50);
    const error = summary.scores[kind].student.standard_error;
    const shown = el("a", { href: target }, value.toFixed(3), el("small", {}, error === null ? "one seed" : `± ${error.toFixed(3)}`));
    return el("td", { style: `background: color-mix(in srgb, var(--good) ${share}%, var(--paper))` }, shown);
  }

  // ---- Cell

  async function showCell(panel, at) {
    const runs = await load("runs"), loaded = await finished(runs);
    if (!loaded.length) return panel.replaceChildren(quiet("No run has results yet: see the stages, and reload this page when one has ended."));
    const { place, found } = loaded.find((each) => String(each.place) === at.get("run")) ?? loaded[0];
    const summaries = found.summaries, fields = ["task", "supervisor", "student", "method"];
    const summary = nearest(summaries, fields, Object.fromEntries(at));
    const key = { task: summary.task, supervisor: summary.supervisor, student: summary.student }, method = summary.method;
    const mine = summaries.filter((each) => matches(each, key));
    const go = (values) => {
      const next = values.run === undefined ? fieldsOf(nearest(summaries, fields, summary, values), fields) : { ...key, method };
      location.hash = link("cell", { run: values.run ?? place, ...next });
    };
    const names = (field) => unique(summaries.map((each) => each[field])).map((name) => [name, name]);
    const choices = el("div", { class: "choices" },
      loaded.length > 1 ? choice("run", loaded.map((each) => [each.place, each.found.name]), place, (run) => go({ run })) : null,
      choice("task", names("task"), key.task, (task) => go({ task })),
      choice("supervisor", names("supervisor"), key.supervisor, (supervisor) => go({ supervisor })),
      choice("student", names("student"), key.student, (student) => go({ student })),
      choice("method", mine.map((each) => [each.method, each.method]), method, (value) => go({ method: value })));
    const cells = found.cells.filter((each) => matches(each, key));
    const seeds = unique(cells.map((each) => each.seed));
    panel.replaceChildren(
      choices,
      el("p", {}, `${summary.seeds.length} seeds (${summary.seeds.join(", ")}). Test examples: `,
        ...(runs[place].why_no_examples ? [runs[place].why_no_examples] :
          seeds.flatMap((seed, count) => [count ? ", " : "", el("a", { href: link("examples", { run: place, ...key, seed, method }) }, `seed ${seed}`)]))),
      el("h2", {}, "How good each model is"), models(mine, cells),
      el("h2", {}, `The student of ${method}`), student(summary, cells.filter((each) => each.method === method)),
      el("h2", {}, "Methods compared"), compared(found, key),
      el("h2", {}, "What made it"), madeOf(found, cells.filter((each) => each.method === method)));
  }

  function models(mine, cells) {
    const colours = new Map(mine.map((each, place) => [each.method, charts.COLOURS[place % charts.COLOURS.length]]));
    const first = mine[0];
    const row = (name, summary, role, colour) => {
      const interval = summary.pgr.accuracy[role];
      const of = cells.filter((cell) => role !== "student" || cell.method === name);
      const dots = unique(of.map((cell) => JSON.stringify([cell.seed, cell.scores.accuracy[role]]))).map((each) => JSON.parse(each)[1]);
      return { name, value: summary.scores.accuracy[role].value, low: interval?.low ?? null, high: interval?.high ?? null, dots, colour };
    };
    const rows = [
      row("supervisor", first, "supervisor", "var(--quiet)"),
      ...mine.map((each) => row(each.method, each, "student", colours.get(each.method))),
      row("ceiling", first, "ceiling", "var(--ink)"),
    ];
    const caption = "Test accuracy: means over seeds with 95% intervals; ticks are single seeds.";
    const pgr = (summary, name) => {
      const found = summary.pgr[name];
      return found.value === null ? `undefined: ${found.reason}` : `${found.value.toFixed(2)} ${ends(found.low, found.high, 2)}`;
    };
    const mean = (summary, metric, role) => {
      const found = summary.scores[metric]?.[role];
      return found ? `${found.value.toFixed(3)}${found.standard_error === null ? "" : ` ± ${found.standard_error.toFixed(3)}`}` : "–";
    };
    const numbers = [
      ["supervisor", mean(first, "accuracy", "supervisor"), mean(first, "auroc", "supervisor"), "", ""],
      ...mine.map((each) => [each.method, mean(each, "accuracy", "student"), mean(each, "auroc", "student"), pgr(each, "accuracy"), pgr(each, "auroc")]),
      ["ceiling", mean(first, "accuracy", "ceiling"), mean(first, "auroc", "ceiling"), "", ""],
    ];
    return el("div", {},
      el("div", { class: "charts" }, el("figure", {}, charts.intervals(rows, "test accuracy"), el("figcaption", {}, caption))),
      table(["model", "accuracy ± standard error", "AUROC", "PGR [95%]", "PGR of AUROC [95%]"], numbers));
  }

  function student(summary, cells) {
    const drawn = [];
    if (summary.curve.length > 1) {
      const mark = (cell, step, shape) => {
        const point = cell.curve.find((each) => each.step === step);
        return point ? [[point.step, point.truth_accuracy, shape]] : [];
      };
      const marks = cells.flatMap((cell) => [...mark(cell, cell.selected_step, "ring"), ...mark(cell, cell.best_truth_step, "cross")]);
      const curves = [
        { points: summary.curve.map((each) => [each.step, each.truth_accuracy]), colour: "var(--c0)", marks },
        { points: summary.curve.map((each) => [each.step, each.weak_accuracy]), colour: "var(--c1)", dashed: true },
      ];
      drawn.push(el("figure", {}, charts.lines(curves, ["training step", "validation accuracy"]),
        charts.legend([["against ground truth", "var(--c0)"], ["against weak labels", "var(--c1)", true]]),
        el("figcaption", {}, "Mean over seeds. Rings: the steps that were kept, which weak labels chose. Crosses: those that ground truth would have chosen, which is cheating.")));
    }
    const roles = [["supervisor", "var(--quiet)"], ["student", "var(--c0)"], ["ceiling", "var(--ink)"]];
    const bins = roles.filter(([role]) => summary.reliability[role]).map(([role, colour]) => {
      const found = summary.reliability[role];
      const points = found.counts.flatMap((count, place) => (count ? [[found.confidence[place], found.accuracy[place]]] : []));
      return { role, points, colour, dashed: role === "supervisor" };
    });
    if (bins.some((each) => each.points.length)) {
      const shown = bins.filter((each) => each.points.length);
      const low = Math.min(0.5, ...shown.flatMap((each) => each.points.map((point) => Math.min(...point))));
      drawn.push(el("figure", {}, charts.lines(shown, ["confidence", "accuracy"], { x: [low - 0.02, 1.02], y: [low - 0.02, 1.02], diagonal: true, label: "reliability" }),
        charts.legend(shown.map((each) => [each.role, each.colour, each.dashed])),
        el("figcaption", {}, "Reliability on the test split, all seeds together: on the dotted line confidence is accuracy.")));
    }
    const agreement = summary.agreement;
    const rows = [
      ["all test examples", number(agreement.overall)],
      ["where the supervisor is right", number(agreement.where_right)],
      ["where it is wrong (copied errors)", number(agreement.where_wrong)],
    ];
    const titles = { selected: "kept: chosen by weak labels", weak: "best by weak labels", last: "last step", best: "best by ground truth (cheating)", supervisor: "supervisor", ceiling: "ceiling" };
    const stops = Object.entries(summary.stopping).map(([name, mean]) => [
      titles[name] ?? name, number(mean.value), summary.stopping_pgr[name] === undefined || summary.stopping_pgr[name] === null ? "" : number(summary.stopping_pgr[name], 2)]);
    return el("div", {}, el("div", { class: "charts" }, drawn),
      el("h3", {}, "How often it agrees with its supervisor"), table(["of", "agreement"], rows),
      stops.length ? el("h3", {}, "What each rule of stopping gives, on validation") : null,
      stops.length ? table(["rule", "accuracy", "PGR"], stops) : null);
  }

  function compared(found, key) {
    const all = [...found.comparisons, ...found.pairs].filter((each) => matches(each, key));
    if (!all.length) return quiet("There is one method only.");
    const rows = all.map((each) => [
      `${each.method} − ${each.baseline}`,
      each.difference === null ? `undefined: ${each.reason}` : `${signed(each.difference)} ${ends(each.low, each.high, 3)}`,
      each.p === null ? "one seed has none" : each.p.toPrecision(2),
      each.p_holm === null ? "" : each.p_holm.toPrecision(2),
    ]);
    return el("div", {}, table(["difference of accuracy", "with its 95% interval", "p", "after Holm"], rows),
      quiet("Paired over the same seeds and test examples. Differences from the first method are adjusted among themselves, all others among themselves, each over the whole run."));
  }

  function madeOf(found, cells) {
    const made = found.made;
    const packages = Object.entries(made.packages ?? {}).map(([name, version]) => `${name} ${version}`).join(", ");
    const rows = [
      ["command", made.command], ["date", made.date], ["hardware", made.hardware], ["w2s_jax", `${made.w2s_jax ?? ""} ${made.git ?? ""}`],
      ["packages", packages], ["seconds", made.seconds === undefined ? null : String(made.seconds)],
    ].filter(([, value]) => value);
    const stages = cells.flatMap((cell) => Object.entries(cell.stages).map(([role, name]) => [`seed ${cell.seed}`, role, name]));
    return el("div", {}, table(["what", "value"], rows, "made"),
      stages.length ? table(["cell", "role", "stage (its folder)"], stages, "made") : null,
      el("details", {}, el("summary", {}, "Config"), el("pre", {}, JSON.stringify(found.config, null, 1))));
  }

  // ---- Examples

  // Each is told the rows of all models: says, sure, right and margin of each, and the truth.
  const FILTERS = [
    ["all", "all", () => true],
    ["rose", "supervisor wrong, student right", (row, a) => a.weak.says[row] !== a.truth[row] && a.mine.says[row] === a.truth[row]],
    ["copied", "student copied the error", (row, a) => a.weak.says[row] !== a.truth[row] && a.mine.says[row] === a.weak.says[row]],
    ["lost", "supervisor right, student wrong", (row, a) => a.weak.says[row] === a.truth[row] && a.mine.says[row] !== a.truth[row]],
    ["sure", "student confidently wrong (90% or more)", (row, a) => a.mine.says[row] !== a.truth[row] && a.mine.sure[row] >= SURE],
    ["disagree", "methods disagree", (row, a) => a.every.some((each) => each.says[row] !== a.every[0].says[row])],
    ["ceiling", "ceiling wrong", (row, a) => a.ceiling.says[row] !== a.truth[row]],
  ];
  const SORTS = [
    ["", "as they come"],
    ["margin", "student's margin, most wrong first"],
    ["-margin", "student's margin, most right first"],
    ["weak", "supervisor's margin, most wrong first"],
    ["gain", "student's margin minus supervisor's, largest first"],
    ["group", "group"],
  ];

  async function showExamples(panel, at) {
    const runs = await load("runs");
    const usable = runs.map((run, place) => ({ run, place })).filter(({ run }) => run.sets.length && !run.why_no_examples);
    const asked = runs[at.get("run") ?? -1];
    if (asked?.why_no_examples) return panel.replaceChildren(quiet(`${asked.name}: ${asked.why_no_examples}`));
    if (!usable.length) return panel.replaceChildren(...runs.map((run) => quiet(`${run.name}: ${run.why_no_examples}`)));
    const { run, place } = usable.find((each) => String(each.place) === at.get("run")) ?? usable[0];
    const fields = ["task", "supervisor", "student", "seed"];
    const set = nearest(run.sets, fields, Object.fromEntries(at)), number_ = run.sets.indexOf(set);
    const method = set.methods.includes(at.get("method")) ? at.get("method") : set.methods[0];
    const [texts, answers] = await Promise.all([load(`texts-${place}-${set.texts}`), load(`answers-${place}-${number_}`)]);
    const state = {
      run: place, task: set.task, supervisor: set.supervisor, student: set.student, seed: set.seed, method,
      filter: at.get("filter") ?? "all", q: at.get("q") ?? "", sort: at.get("sort") ?? "", id: at.get("id"),
    };
    const go = (values) => {
      const next = values.run === undefined ? fieldsOf(nearest(run.sets, fields, set, values), fields) : {};
      location.hash = link("examples", { ...state, q: search.value, id: null, ...values, ...next });
    };
    const a = {
      truth: texts.truth, weak: answers.supervisor, ceiling: answers.ceiling, mine: answers.students[method],
      every: Object.values(answers.students),
    };
    const names = (field) => unique(run.sets.map((each) => each[field])).map((name) => [name, name]);
    const search = el("input", { type: "search", value: state.q, placeholder: "words, or an id", onchange: (event) => go({ q: event.target.value }) });
    const rows = chosenRows(texts, a, state);
    const choices = el("div", { class: "choices" },
      usable.length > 1 ? choice("run", usable.map((each) => [each.place, each.run.name]), place, (value) => go({ run: value })) : null,
      choice("task", names("task"), set.task, (task) => go({ task })),
      choice("supervisor", names("supervisor"), set.supervisor, (supervisor) => go({ supervisor })),
      choice("student", names("student"), set.student, (student) => go({ student })),
      choice("seed", names("seed"), set.seed, (seed) => go({ seed })),
      choice("method", set.methods.map((name) => [name, name]), method, (value) => go({ method: value })),
      choice("order", SORTS.filter(([name]) => name !== "group" || texts.groups), state.sort, (sort) => go({ sort })),
      el("label", {}, "search", search));
    const filters = el("div", { class: "filters", role: "group", "aria-label": "filters" }, FILTERS.map(([name, title, passes]) => {
      const count = rows.found.reduce((sum, row) => sum + passes(row, a), 0);
      return el("button", { type: "button", "aria-pressed": String(name === state.filter), onclick: () => go({ filter: name }) }, `${title} (${count.toLocaleString("en")})`);
    }));
    const list = el("div", {});
    let shown = 0;
    const more = el("button", { type: "button", onclick: () => append() });
    function append() {
      const next = rows.shown.slice(shown, shown + PAGE);
      list.append(...next.map((row) => example(row, texts, answers, a, state)));
      shown += next.length;
      more.hidden = shown >= rows.shown.length;
      more.textContent = `show ${Math.min(PAGE, rows.shown.length - shown)} more of ${(rows.shown.length - shown).toLocaleString("en")}`;
    }
    append();
    const saves = el("button", { type: "button", onclick: () => save(rows.shown, texts, answers, state) }, `save these ${rows.shown.length.toLocaleString("en")} as JSONL`);
    const known = el("p", { class: "quiet", role: "status" }, `${rows.shown.length.toLocaleString("en")} of ${texts.ids.length.toLocaleString("en")} test examples. Filters speak of the student of ${method}. `, saves);
    panel.replaceChildren(choices, filters, known, list, more);
    return () => list.querySelector(".chosen")?.scrollIntoView({ block: "center" });
  }

  function chosenRows(texts, a, state) {
    const words = state.q.toLowerCase();
    const found = [];
    for (let row = 0; row < texts.ids.length; row++) {
      if (!words || texts.ids[row].toLowerCase() === words || texts.texts[row].some((text) => text.toLowerCase().includes(words))) found.push(row);
    }
    const passes = (FILTERS.find(([name]) => name === state.filter) ?? FILTERS[0])[2];
    let shown = found.filter((row) => passes(row, a));
    const by = {
      margin: (row) => a.mine.margin[row], "-margin": (row) => -a.mine.margin[row], weak: (row) => a.weak.margin[row],
      gain: (row) => a.weak.margin[row] - a.mine.margin[row],
    }[state.sort];
    if (by) shown.sort((one, two) => by(one) - by(two) || one - two);
    else if (state.sort === "group" && texts.groups) shown.sort((one, two) => (texts.groups[one] < texts.groups[two] ? -1 : texts.groups[one] > texts.groups[two] ? 1 : one - two));
    if (state.id !== null) {
      const row = texts.ids.indexOf(state.id);
      if (row >= 0) shown = [row, ...shown.filter((each) => each !== row)];
    }
    return { found, shown };
  }

  const label = (texts, number_) => texts.classes[number_] ?? (texts.classes.length ? String(number_) : `candidate ${number_ + 1}`);

  function example(row, texts, answers, a, state) {
    const id = texts.ids[row], truth = texts.truth[row];
    const models = [["supervisor (weak label)", answers.supervisor], ...Object.entries(answers.students), ["ceiling", answers.ceiling]];
    const lines = models.map(([name, model]) => {
      const right = model.says[row] === truth, share = model.right[row] / SCALE;
      const bar = el("span", { class: `bar ${right ? "right" : "wrong"}`, style: `width: ${(share * 6).toFixed(2)}rem`, "aria-hidden": "true" });
      return [name, el("span", { class: right ? "right" : "wrong" }, `${right ? "✓" : "✗"} ${label(texts, model.says[row])}`), (model.sure[row] / SCALE).toFixed(3), el("span", {}, share.toFixed(3), " ", bar)];
    });
    const several = texts.texts[row].length > 1;
    const beside = (answers.beside[row] ?? []).map(([title, text]) => el("div", { class: "beside" }, el("strong", {}, title), `\n${text}`));
    return el("article", { class: `example${id === state.id ? " chosen" : ""}`, "aria-label": `example ${id}` },
      el("div", { class: "meta" },
        el("a", { href: link("examples", { ...state, id }), title: "link to this example" }, id),
        texts.groups ? el("span", {}, `group ${texts.groups[row]}`) : null,
        el("span", {}, `truth: ${label(texts, truth)}`)),
      texts.texts[row].map((text, place) => body(text, several && place === truth)),
      beside.length ? el("details", {}, el("summary", {}, `what the supervisor saw besides (${beside.length})`), beside) : null,
      table(["model", "says", "how sure", "p(truth)"], lines));
  }

  function body(text, isTrue) {
    const name = `text${isTrue ? " true" : ""}`;
    if (text.length <= LONG) return el("div", { class: name }, text);
    const shown = el("div", { class: name }, `${text.slice(0, LONG)}… `);
    shown.append(el("button", { type: "button", onclick: () => { shown.textContent = text; } }, `all ${text.length.toLocaleString("en")} characters`));
    return shown;
  }

  function save(rows, texts, answers, state) {
    const model = (found, row) => ({ says: found.says[row], sure: found.sure[row] / SCALE, p_truth: found.right[row] / SCALE, margin: found.margin[row] / SCALE });
    const lines = rows.map((row) => JSON.stringify({
      id: texts.ids[row], text: texts.texts[row].length > 1 ? texts.texts[row] : texts.texts[row][0], truth: texts.truth[row],
      group: texts.groups ? texts.groups[row] : null, task: state.task, seed: state.seed, supervisor_name: state.supervisor, student_name: state.student,
      supervisor: model(answers.supervisor, row), ceiling: model(answers.ceiling, row),
      students: Object.fromEntries(Object.entries(answers.students).map(([name, found]) => [name, model(found, row)])),
    }));
    const url = URL.createObjectURL(new Blob([lines.join("\n"), "\n"], { type: "application/x-ndjson" }));
    el("a", { href: url, download: "examples.jsonl" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  // ---- Stages

  let timer = null;

  async function showStages(panel, at) {
    const runs = await load("runs");
    const place = runs[Number(at.get("run"))] ? Number(at.get("run")) : 0;
    const { version, stages } = await load(`stages-${place}`, LIVE);
    const state = at.get("state") ?? "";
    const count = (name) => stages.filter((each) => each.state === name).length;
    const go = (values) => { location.hash = link("stages", { run: place, state, ...values }); };
    const filters = ["", "done", "running", "stopped", "failed", "to do"].filter((name) => !name || count(name)).map((name) =>
      el("button", { type: "button", "aria-pressed": String(name === state), onclick: () => go({ state: name }) }, `${name || "all"} (${name ? count(name) : stages.length})`));
    const titles = new Map(stages.map((each) => [each.name, each.title]));
    const open = new Set([...document.querySelectorAll("#panel-stages details[open]")].map((each) => each.id));
    const rows = stages.filter((each) => !state || each.state === state).map((each) => {
      const details = [];
      if (each.step) details.push(`step ${each.step}${each.steps ? ` of ${each.steps}` : ""}`);
      if (typeof each.loss === "number") details.push(`loss ${each.loss.toFixed(4)}`);
      if (each.left !== undefined) details.push(`about ${duration(each.left)} left`);
      if (typeof each.seconds === "number") details.push(`took ${duration(each.seconds)}`);
      const reads = each.needs.length ? el("div", { class: "quiet" }, "reads: ", each.needs.map((need, index) => [index ? "; " : "", el("a", { href: `#stage-${need}`, onclick: (event) => jump(event, need) }, titles.get(need) ?? need)]).flat()) : null;
      const error = each.error ? el("details", { id: `error-${each.name}`, open: open.has(`error-${each.name}`) }, el("summary", {}, "last lines"), el("pre", {}, each.error)) : null;
      const name = el("span", { id: `stage-${each.name}`, tabindex: "-1" }, each.title);
      return [el("span", { class: `state ${each.state}` }, each.state), el("div", {}, name, el("div", { class: "quiet" }, each.name), reads, error), details.join(", ")];
    });
    const content = [
      runs.length > 1 ? el("div", { class: "choices" }, choice("run", runs.map((run, index) => [index, run.name]), place, (run) => go({ run }))) : null,
      LIVE && version !== VERSION ? el("p", { class: "problem" }, "There are new results: ", el("a", { href: "", onclick: () => location.reload() }, "reload the page"), " to see them.") : null,
      el("p", {}, el("progress", { max: stages.length || 1, value: count("done"), "aria-label": "stages done" }), ` ${count("done")} of ${stages.length} stages done`),
      el("div", { class: "filters", role: "group", "aria-label": "filters" }, filters),
      table(["state", "stage", "how far"], rows, "made"),
      LIVE ? null : quiet("As it was when these files were written."),
    ];
    panel.replaceChildren(...content.filter((each) => each !== null));
    clearTimeout(timer);
    if (LIVE && stages.some((each) => each.state !== "done")) {
      timer = setTimeout(() => { if (address().tab === "stages" && !document.hidden) show(); else if (address().tab === "stages") timer = setTimeout(show, 3000); }, 3000);
    }
  }

  function jump(event, name) {
    event.preventDefault();
    const target = document.getElementById(`stage-${name}`);
    target?.scrollIntoView({ block: "center" });
    target?.focus({ preventScroll: true });
  }

  // ---- Tabs

  const SHOW = { grid: showGrid, cell: showCell, examples: showExamples, stages: showStages };
  let last = "";

  async function show() {
    const { tab, at, anchor } = address();
    for (const name of TABS) {
      document.getElementById(`panel-${name}`).hidden = name !== tab;
      const chosen = document.getElementById(`tab-${name}`);
      if (name === tab) chosen.setAttribute("aria-current", "page");
      else chosen.removeAttribute("aria-current");
    }
    if (tab !== "stages") clearTimeout(timer);
    if (!SHOW[tab]) {
      if (anchor && anchor !== "report") document.getElementById(anchor)?.scrollIntoView();
      return;
    }
    const panel = document.getElementById(`panel-${tab}`);
    const wanted = location.hash;
    if (!panel.hasChildNodes()) panel.replaceChildren(quiet("loading …"));
    const began = performance.now();
    try {
      const made = document.createElement("div");
      const after = await SHOW[tab](made, at);
      if (location.hash !== wanted) return; // something else was chosen meanwhile
      panel.replaceChildren(...made.childNodes);
      after?.();
      panel.dataset.took = (performance.now() - began).toFixed(0); // milliseconds
    } catch (error) {
      if (location.hash === wanted) panel.replaceChildren(el("p", { class: "problem", role: "alert" }, `This cannot be shown: ${error.message}`));
    }
    if (last !== tab) window.scrollTo(0, 0);
    last = tab;
  }

  window.addEventListener("hashchange", show);
  window.addEventListener("DOMContentLoaded", show);
  return { part };
})();
