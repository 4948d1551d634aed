"use strict";
// A participant's page. The server knows where the participant is; the page shows it, and sends what is done.

(() => {
  const { byId, el, get, here, lost, paragraphs, pause, post } = page;
  const LETTERS = "ABCDEFGHIJ", AGAIN = 1000, SLOW = 3000;
  let view = null, shown = "", received = 0, warned = 0, parts = {}, queue = Promise.resolve();

  // ---- Requests

  async function refresh() {
    try {
      const { status, body } = await get("view");
      if (status === 200) show(body);
      else byId("main").replaceChildren(problem(body.error));
      lost(false);
    } catch {
      lost(true); // the stream says when the server is back
    }
  }

  // What is done is sent until the server has it, in order; what it refuses as too late has been done, or is over.
  function act(action) {
    const sent = { position: view.position, ...action };
    queue = queue.then(async () => {
      for (;;) {
        try {
          const { status, body } = await post(sent);
          lost(false);
          if (status === 503) { complain(body.error); await pause(AGAIN); continue; }
          if (status === 200) show(body);
          else if (body.view) show(body.view);
          if (status !== 200 && status !== 409) complain(body.error);
          return status === 200;
        } catch {
          lost(true);
          await pause(AGAIN);
        }
      }
    });
    return queue;
  }

  function listen() {
    const stream = new EventSource(`${here}/stream`);
    stream.onmessage = (event) => {
      lost(false);
      const message = JSON.parse(event.data);
      if ("version" in message) { if (!view || message.version !== view.version) refresh(); } else piece(message);
    };
    stream.onerror = () => {
      lost(true);
      if (stream.readyState === EventSource.CLOSED) { stream.close(); refresh(); setTimeout(listen, SLOW); }
    };
    stream.onopen = refresh;
  }

  function piece(message) {
    if (!view?.messages) return;
    const writing = view.writing ?? { from: message.from, text: "" };
    if (writing.from !== message.from || writing.text.length > message.length + message.piece.length) return;
    if (writing.text.length < message.length) { refresh(); return; } // some of it was missed
    writing.text = writing.text.slice(0, message.length) + message.piece;
    view.writing = writing;
    showWriting();
  }

  // ---- Showing

  function show(next) {
    if (view && next.version < view.version) return; // an answer that was overtaken
    view = next;
    received = performance.now();
    document.title = view.title;
    byId("title").textContent = view.title;
    const name = `${view.stage} ${view.position}`;
    if (name !== shown) {
      shown = name;
      warned = 0;
      parts = {};
      const children = (STAGES[view.stage] ?? STAGES.text)();
      byId("main").replaceChildren(...children);
      window.scrollTo(0, 0);
      byId("main").querySelector("h1")?.focus({ preventScroll: true });
    }
    header();
    update();
    tick();
  }

  function header() {
    const going = ["ready", "paused", "question", "revealed"].includes(view.stage);
    byId("place").hidden = !going;
    byId("clock").hidden = view.stage !== "question";
    if (!going) return;
    byId("where").textContent = view.position < 0 ? "Practice" : `Question ${view.position + 1} of ${view.total}`;
    byId("progress").max = view.total;
    byId("progress").value = Math.max(view.position, 0);
  }

  const heading = (text) => el("h1", { tabindex: "-1" }, text);
  const button = (text, action, more = {}) => el("button", { type: "button", onclick: () => act(action), ...more }, text);
  const problem = (text) => el("p", { class: "problem", role: "alert" }, text);
  const row = (...children) => el("p", { class: "row" }, children);
  const minutes = (seconds) =>
    seconds % 60 || seconds < 60 ? `${seconds} seconds` : seconds === 60 ? "1 minute" : `${seconds / 60} minutes`;

  function complain(text) {
    if (parts.problem) parts.problem.replaceChildren(problem(text));
    else byId("main").append(problem(text));
  }

  const STAGES = {
    consent: () => [
      heading("Taking part"),
      ...paragraphs(view.text),
      row(
        button("I agree to take part", { do: "consent", agree: true }, { class: "main" }),
        button("I do not agree", { do: "consent", agree: false }),
      ),
    ],
    declined: () => [
      heading("Not taking part"),
      ...paragraphs(view.text),
      row(button("I agree to take part after all", { do: "consent", agree: true })),
    ],
    instructions: () => [
      heading("How it works"),
      ...paragraphs(view.text),
      row(button("Go on", { do: "begin" }, { class: "main" })),
    ],
    ready: () => {
      const practice = view.condition.practice;
      return [
        heading(practice ? "A practice question" : `Question ${view.position + 1} of ${view.total}`),
        view.before ? el("p", { class: "problem" }, view.before) : null,
        practice ? el("p", {}, "This one is for trying out how the page works. Your answer to it does not count.") : null,
        el("h2", {}, `You answer ${view.condition.title}`, view.condition.new && view.position > 0 ? " (this is new)" : ""),
        el("p", {}, view.condition.text),
        el("p", {}, `You have ${minutes(view.seconds)}, from when you open the question.`),
        row(
          button("Open the question", { do: "start" }, { class: "main" }),
          button("Take a break", { do: "pause" }),
        ),
      ].filter(Boolean);
    },
    paused: () => [
      heading("A break"),
      el("p", {}, "No time is running. You can close this page, and come back with the same link."),
      row(button("Go on", { do: "resume" }, { class: "main" })),
    ],
    stopped: () => [heading("Stopped"), ...paragraphs(view.text)],
    end: () => [heading("The end"), ...paragraphs(view.text)],
    text: () => [heading(view.title), ...paragraphs(view.text ?? "")],
    question: () => {
      parts.problem = el("div");
      parts.form = el(
        "form",
        { class: "answer", onsubmit: (event) => { event.preventDefault(); answer(); } },
        choices(false),
        sureness(),
        parts.problem,
        row(el("button", { type: "submit", class: "main" }, "Give this answer")),
      );
      return [
        heading(view.condition.practice ? "A practice question" : `Question ${view.position + 1}`),
        el("div", { class: view.speakers.length ? "two" : "one" }, el("div", { class: "asked" }, asked()),
          view.speakers.length ? talk() : null, parts.form),
      ];
    },
    revealed: () => [
      heading(`Question ${view.position + 1}: the right answer`),
      el("div", { class: "asked" }, asked()),
      choices(true),
      el("p", {}, `Right is ${LETTERS[view.right]}. ${view.question.choices[view.right]}. `,
        view.choice === null ? "You gave no answer in time." : `You said ${LETTERS[view.choice]}.`),
      row(button("Go on", { do: "next" }, { class: "main" })),
    ],
  };

  const asked = () => [
    view.question.passage
      ? el("section", { class: "passage", tabindex: "0", "aria-label": "Passage" }, paragraphs(view.question.passage))
      : null,
    el("h2", { class: "question" }, view.question.question),
  ];

  function choices(over) {
    parts.choices = view.question.choices.map((text, place) =>
      el("input", { type: "radio", name: "choice", value: place, disabled: over, checked: over && view.choice === place,
        onchange: choose }));
    return el("fieldset", { class: "choices" }, el("legend", {}, over ? "The options" : "Which is right?"),
      view.question.choices.map((text, place) =>
        el("label", { class: over && view.right === place ? "right" : null }, parts.choices[place],
          el("span", {}, el("b", {}, `${LETTERS[place]}.`), ` ${text}`))));
  }

  // From a pure guess to certain; nothing is chosen beforehand, so that no number is suggested.
  function sureness() {
    const least = view.question.least;
    const values = [least];
    for (let percent = 10; percent <= 100; percent += 10) if (percent / 100 > least + 0.01) values.push(percent / 100);
    parts.sure = values.map((value) =>
      el("input", { type: "radio", name: "confidence", value, onchange: choose }));
    const word = (place) => (place === 0 ? "a guess" : place === values.length - 1 ? "certain" : "");
    return el("fieldset", { class: "sure" }, el("legend", {}, "How sure are you that it is right?"),
      values.map((value, place) => el("label", {}, parts.sure[place],
        el("span", {}, `${Math.round(100 * value)}%`, word(place) ? el("small", {}, ` ${word(place)}`) : null))));
  }

  const picked = (inputs) => inputs.find((input) => input.checked)?.value;
  const chosen = () => {
    const choice = picked(parts.choices), confidence = picked(parts.sure);
    return { choice: choice === undefined ? null : Number(choice),
      confidence: confidence === undefined ? null : Number(confidence) };
  };

  function choose() {
    parts.problem.replaceChildren();
    act({ do: "choose", ...chosen() });
  }

  function answer() {
    const given = chosen();
    if (given.choice === null) { complain("Please choose one of the options."); parts.choices[0].focus(); return; }
    if (given.confidence === null) { complain("Please say how sure you are."); parts.sure[0].focus(); return; }
    act({ do: "answer", ...given });
  }

  // ---- The dialogue

  const draft = () => `draft ${here} ${view.position}`; // of this question alone

  function talk() {
    parts.log = el("div", { class: "log", role: "log", "aria-label": "What was said", tabindex: "0" });
    parts.lines = [];
    parts.writing = el("div", { class: "line writing", "aria-hidden": "true", hidden: true },
      el("b", {}), el("div", { class: "text" }));
    parts.notice = el("div");
    parts.left = el("small", { class: "quiet" });
    parts.text = el("textarea", { id: "text", rows: "2", maxlength: "4000", onkeydown: (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); say(); }
    }, oninput: () => sessionStorage.setItem(draft(), parts.text.value) });
    parts.text.value = sessionStorage.getItem(draft()) ?? "";
    parts.send = el("button", { type: "submit" }, "Send");
    parts.write = el("form", { class: "write", onsubmit: (event) => { event.preventDefault(); say(); } },
      el("label", { for: "text" }, `Write to ${view.speakers.length > 1 ? "the debaters" : `the ${view.speakers[0].toLowerCase()}`}`),
      parts.text, row(parts.send, parts.left));
    const scrolled = el("div", { class: "scrolled" }, parts.log, parts.writing);
    parts.scrolled = scrolled;
    return el("section", { class: "talk", "aria-label": `Dialogue with ${view.speakers.join(", ")}` },
      scrolled, parts.notice, view.writes ? parts.write : null);
  }

  async function say() {
    const text = parts.text.value;
    if (!view.may_write || !text.trim()) return;
    const saved = draft();
    if (await act({ do: "say", text, said: view.messages.length })) {
      sessionStorage.removeItem(saved);
      if (parts.text?.value === text) parts.text.value = ""; // unless they write on
    }
  }

  function update() {
    if (view.stage !== "question") return;
    parts.choices.forEach((input, place) => { input.checked = input.checked || view.choice === place && !picked(parts.choices); });
    parts.sure.forEach((input) => {
      input.checked = input.checked || (!picked(parts.sure) && view.confidence !== null && Math.abs(input.value - view.confidence) < 0.01);
    });
    if (!parts.log) return;
    for (const message of view.messages.slice(parts.lines.length)) {
      const line = el("div", { class: message.mine ? "line mine" : "line" }, el("b", {}, message.from),
        el("div", { class: "text" }, message.text));
      parts.lines.push(line);
      parts.log.append(line);
    }
    parts.notice.replaceChildren();
    if (view.notice) parts.notice.append(problem(view.notice), row(button("Ask it again", { do: "retry" })));
    parts.send.disabled = !view.may_write;
    parts.left.textContent = view.turns_left === 0 ? "You have no messages left." :
      view.writing ? "Please wait for the reply." : `${view.turns_left} messages left`;
    showWriting();
  }

  function showWriting() {
    if (!parts.writing) return;
    const near = parts.scrolled.scrollHeight - parts.scrolled.scrollTop - parts.scrolled.clientHeight < 80;
    parts.writing.hidden = !view.writing;
    if (view.writing) {
      parts.writing.children[0].textContent = view.writing.from;
      parts.writing.children[1].textContent = view.writing.text || "...";
    }
    if (near) parts.scrolled.scrollTop = parts.scrolled.scrollHeight;
  }

  // ---- Time: the server's, counted down between what it says

  function tick() {
    if (view?.stage !== "question") return;
    const left = Math.max(view.seconds_left - (performance.now() - received) / 1000, 0);
    const whole = Math.ceil(left);
    byId("clock").textContent = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} left`;
    byId("clock").classList.toggle("short", whole <= 30);
    for (const mark of [60, 30, 10]) {
      if (whole <= mark && whole > mark - 3 && warned !== mark) {
        warned = mark;
        byId("said").textContent = `${mark} seconds left`;
      }
    }
    if (left === 0 && performance.now() - received > 1500) refresh();
  }

  setInterval(tick, 500);
  document.addEventListener("visibilitychange", () => {
    if (view?.stage !== "question") return;
    post({ do: document.hidden ? "away" : "back", position: view.position }, true).catch(() => {});
    if (!document.hidden) refresh();
  });
  refresh().then(listen);
})();
