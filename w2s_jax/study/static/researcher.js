"use strict";
// The researcher's page: asks for everything every two seconds.

(() => {
  const { byId, el, get, here, lost, post } = page;
  const EVERY = 2000;
  const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(100 * value)}%`);
  const ago = (seconds) =>
    seconds === null ? "never" : seconds < 60 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
  let last = "";

  function table(caption, head, rows, empty) {
    const body = rows.map((row) =>
      el("tr", {}, row.map((cell, place) => el(place ? "td" : "th", place ? {} : { scope: "row" }, cell))));
    if (!rows.length) body.push(el("tr", {}, el("td", { colspan: head.length, class: "quiet" }, empty)));
    return el("section", {}, el("h2", {}, caption),
      el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
        el("table", {}, el("thead", {}, el("tr", {}, head.map((cell) => el("th", { scope: "col" }, cell)))),
          el("tbody", {}, body))));
  }

  const where = (each, total) => {
    const place = each.position < 0 ? "practice" : `question ${each.position + 1} of ${total}`;
    return { ready: `before ${place}`, question: `on ${place}`, revealed: `reads what was right, ${place}`,
      paused: `takes a break before ${place}`, consent: each.quiet === null ? "has not come yet" : "reads the consent",
      instructions: "reads the instructions", declined: "does not take part", end: "has finished" }[each.stage];
  };

  function content(found) {
    const stop = el("button", { type: "button", id: "stop", onclick: () => act(found.stopped ? "resume" : "stop") },
      found.stopped ? "Let the study go on" : "Stop the study");
    const files = found.files.map((name) => el("a", { href: `${here}/files/${name}`, download: name }, name));
    return [
      el("h1", {}, `${found.name}: ${found.answers} of ${found.people.length * found.total} answers`),
      found.stopped ? el("p", { class: "problem", role: "alert" },
        "The study is stopped: nobody can go on, and no time runs.") : null,
      el("p", { class: "row" }, stop,
        el("button", { type: "button", id: "export", onclick: () => act("export") }, "Export the tables"), files),
      el("p", { class: "quiet" }, `Tables are written to ${found.folder} every half a minute. What was right is not shown here, as who ` +
        "watches it is tempted to stop when it looks good; ", el("code", {}, "w2s study report"), " says it."),
      table("Participants", ["who", "where", "under", "answered", "left", "last did something", ""],
        found.people.map((each) => [
          each.participant + (each.simulated ? ` (simulated: ${each.simulated})` : ""), where(each, found.total),
          each.condition, `${each.answered}`, each.seconds_left === null ? "" : `${each.seconds_left} s`,
          ago(each.quiet), [each.online ? "page is open" : "", each.notice ? `assistant gone: ${each.notice}` : ""]
            .filter(Boolean).join("; ")])),
      table("So far", ["condition", "answers", "without an answer in time", "mean confidence", "median seconds",
        "messages", "changes of mind"],
        found.table.map((each) => [each.condition, `${each.answers}`, `${each.expired}`, percent(each.confidence),
          number(each.seconds, 0), number(each.turns, 1), number(each.changes, 1)])),
      table("Latest answers", ["who", "under", "question", "answer", "confidence", "seconds", "messages", "assistant said"],
        found.latest.map((each) => [each.participant, each.condition, each.question.slice(0, 12),
          each.choice < 0 ? "none in time" : "ABCDEFGHIJ"[each.choice], percent(each.confidence), number(each.seconds, 0),
          `${each.turns}`, each.suggested < 0 ? "–" : "ABCDEFGHIJ"[each.suggested]]), "There are none yet."),
    ].filter(Boolean);
  }

  function show(found) {
    const now = JSON.stringify(found);
    if (now === last) return;
    last = now;
    document.title = `${found.name}: researcher's page`;
    byId("title").textContent = found.title;
    const focused = document.activeElement?.id;
    const scrolled = [...document.querySelectorAll(".wide")].map((each) => each.scrollLeft);
    byId("main").replaceChildren(...content(found));
    if (focused) byId(focused)?.focus();
    document.querySelectorAll(".wide").forEach((each, place) => { each.scrollLeft = scrolled[place] ?? 0; });
  }

  async function ask(request) {
    try {
      const { status, body } = await request();
      lost(false);
      if (status === 200) show(body);
      return status === 200 ? "" : body.error;
    } catch {
      lost(true);
      return "";
    }
  }

  function complain(why) {
    byId("problem").textContent = why;
    byId("problem").hidden = !why;
  }

  const act = async (action) => complain(await ask(() => post({ do: action })));
  async function refresh() {
    const why = await ask(() => get("overview"));
    if (why) complain(why); // and what an action could not do stays until the next one
  }
  refresh();
  setInterval(refresh, EVERY);
})();
