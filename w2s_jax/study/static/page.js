"use strict";
// What both pages share: elements made of text, never of markup, and requests to the server.

const page = (() => {
  const HEADERS = { "Content-Type": "application/json", "X-W2S-Study": "1" };
  const here = location.pathname.replace(/\/$/, "");
  const byId = (name) => document.getElementById(name);
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

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

  const paragraphs = (text) =>
    text.split(/\n\s*\n/).filter((each) => each.trim()).map((each) => el("p", {}, each.trim()));

  async function get(path) {
    const answer = await fetch(`${here}/${path}`, { cache: "no-store" });
    return { status: answer.status, body: await answer.json() };
  }

  async function post(action, keepalive = false) {
    const body = JSON.stringify(action);
    const answer = await fetch(`${here}/act`, { method: "POST", headers: HEADERS, body, keepalive });
    return { status: answer.status, body: await answer.json() };
  }

  const lost = (is) => { byId("lost").hidden = !is; };

  return { byId, el, get, here, lost, paragraphs, pause, post };
})();
