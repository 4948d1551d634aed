"use strict";
// Small charts as SVG: intervals, lines and diagrams, in the colours of the page.

const charts = (() => {
  const NS = "http://www.w3.org/2000/svg";
  // Okabe and Ito's colours, which colour-blind readers can tell apart; styles make them lighter in the dark.
  const COLOURS = ["var(--c0)", "var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)"];

  function make(name, attributes = {}, ...children) {
    const element = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function frame(width, height, label) {
    return make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  }

  // Round numbers between two ends, about so many.
  function ticks(low, high, about) {
    const step0 = (high - low) / about;
    const power = 10 ** Math.floor(Math.log10(step0));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= step0 * 0.999);
    const found = [];
    for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-6; at += step) found.push(at);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return found.map((at) => [at, at.toFixed(digits)]);
  }

  function range(values, least = 0.02) {
    let low = Math.min(...values), high = Math.max(...values);
    const room = Math.max((high - low) * 0.06, least / 2);
    return [low - room, high + room];
  }

  function axes(svg, box, x, y, titles, tickX, tickY) {
    const [left, top, right, bottom] = box;
    for (const [at, text] of tickX) {
      svg.append(make("line", { x1: x(at), x2: x(at), y1: top, y2: bottom, class: "guide" }));
      svg.append(make("text", { x: x(at), y: bottom + 14, "text-anchor": "middle" }, text));
    }
    for (const [at, text] of tickY) {
      svg.append(make("line", { x1: left, x2: right, y1: y(at), y2: y(at), class: "guide" }));
      svg.append(make("text", { x: left - 5, y: y(at) + 4, "text-anchor": "end" }, text));
    }
    svg.append(make("text", { x: (left + right) / 2, y: bottom + 31, "text-anchor": "middle" }, titles[0]));
    if (titles[1]) {
      const middle = (top + bottom) / 2;
      const turned = { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` };
      svg.append(make("text", turned, titles[1]));
    }
  }

  // rows: {name, value, low, high, dots, colour}; one line each.
  function intervals(rows, title) {
    const width = 460, left = 130, step = 26, height = rows.length * step + 52;
    const label = `${title}: ${rows.map((row) => `${row.name} ${row.value.toFixed(3)}`).join(", ")}`;
    const svg = frame(width, height, label);
    const values = rows.flatMap((row) => [row.value, row.low ?? row.value, row.high ?? row.value, ...row.dots]);
    const [low, high] = range(values);
    const x = (value) => left + ((value - low) / (high - low)) * (width - left - 12);
    const bottom = rows.length * step + 8;
    axes(svg, [left, 4, width - 12, bottom], x, () => 0, [title, ""], ticks(low, high, 5), []);
    rows.forEach((row, place) => {
      const y = 4 + (place + 0.5) * step;
      const name = row.name.length > 20 ? `${row.name.slice(0, 9)}…${row.name.slice(-9)}` : row.name;
      svg.append(make("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, name, make("title", {}, row.name)));
      if (row.low !== null && row.high !== null) {
        svg.append(make("line", { x1: x(row.low), x2: x(row.high), y1: y, y2: y, stroke: row.colour, "stroke-width": 2 }));
      }
      for (const dot of row.dots) {
        svg.append(make("line", { x1: x(dot), x2: x(dot), y1: y - 5, y2: y + 5, stroke: row.colour, opacity: 0.5 }));
      }
      svg.append(make("circle", { cx: x(row.value), cy: y, r: 4.5, fill: row.colour }));
    });
    return svg;
  }

  // lines: {name, points: [[x, y]], colour, dashed, marks: [[x, y, shape]]}
  function lines(series, titles, options = {}) {
    const width = 460, height = 280, box = [52, 8, width - 12, height - 44];
    const svg = frame(width, height, options.label ?? titles.join(", "));
    const all = series.flatMap((each) => each.points);
    const [lowX, highX] = options.x ?? range(all.map((point) => point[0]), 1);
    const [lowY, highY] = options.y ?? range(all.map((point) => point[1]));
    const x = (value) => box[0] + ((value - lowX) / (highX - lowX)) * (box[2] - box[0]);
    const y = (value) => box[3] - ((value - lowY) / (highY - lowY)) * (box[3] - box[1]);
    axes(svg, box, x, y, titles, ticks(lowX, highX, 6), ticks(lowY, highY, 5));
    if (options.diagonal) {
      svg.append(make("line", { x1: x(lowX), y1: y(lowX), x2: x(highX), y2: y(highX), class: "diagonal" }));
    }
    for (const each of series) {
      const path = each.points.map(([px, py], place) => `${place ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`);
      const look = { d: path.join(""), fill: "none", stroke: each.colour, "stroke-width": 1.8 };
      if (each.dashed) look["stroke-dasharray"] = "5 3";
      svg.append(make("path", look));
      for (const [px, py] of each.points) svg.append(make("circle", { cx: x(px), cy: y(py), r: 2.6, fill: each.colour }));
      for (const [px, py, shape] of each.marks ?? []) {
        const at = { stroke: each.colour, fill: "none", "stroke-width": 1.8 };
        if (shape === "ring") svg.append(make("circle", { cx: x(px), cy: y(py), r: 6.5, ...at }));
        else svg.append(make("path", { d: `M${x(px) - 5} ${y(py) - 5}l10 10m0-10l-10 10`, ...at }));
      }
    }
    return svg;
  }

  function legend(entries) {
    const list = document.createElement("ul");
    list.className = "legend";
    for (const [name, colour, dashed] of entries) {
      const key = make("svg", { width: 22, height: 10, "aria-hidden": "true" });
      const look = { x1: 1, x2: 21, y1: 5, y2: 5, stroke: colour, "stroke-width": 2.5 };
      if (dashed) look["stroke-dasharray"] = "5 3";
      key.append(make("line", look));
      const item = document.createElement("li");
      item.append(key, ` ${name}`);
      list.append(item);
    }
    return list;
  }

  return { COLOURS, intervals, lines, legend };
})();
