// Draws one dashboard: asks Prometheus its panels' queries and lays the answers out as Grafana would.
// `draw` sets `picture` and loads ECharts before this.
"use strict";

const { dashboard, prometheus, end, range, variables, names } = window.picture;
const CELL = 38; // The height of a row of Grafana's grid, in pixels, gaps included.
const START = end - range;

const COLOURS = {
  green: "#73bf69", red: "#f2495c", orange: "#ff9830", yellow: "#fade2a", blue: "#5794f2",
  "light-blue": "#8ab8ff", purple: "#b877d9", text: "#ccccdc", "dark-red": "#c4162a",
};
const PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0",
  "#37872d", "#fade2a"];
const colour = (name) => COLOURS[name] ?? name;

// ---- asking ----

const seconds = (text) => parseInt(text) * { s: 1, m: 60, h: 3600, d: 86400, w: 604800 }[text.slice(-1)];
const stepOf = (panel) => Math.max(seconds(panel.interval ?? "60s"), 60);

function fill(expression, panel) {
  const step = stepOf(panel);
  const known = {
    ...variables, __range: `${range}s`, __interval: `${step}s`, __interval_ms: `${step * 1000}`, __rate_interval: `${Math.max(step + 60, 240)}s`,
  };
  return expression.replace(/\$(\w+)/g, (all, name) => {
    if (!(name in known)) throw new Error(`unknown variable ${all}`);
    return known[name];
  });
}

async function ask(panel, target) {
  const query = new URLSearchParams({ query: fill(target.expr, panel) });
  const step = stepOf(panel);
  if (target.instant) query.set("time", end);
  else for (const [name, value] of Object.entries({ start: START, end, step })) query.set(name, value);
  const endpoint = target.instant ? "query" : "query_range";
  const answer = await (await fetch(`${prometheus}/api/v1/${endpoint}?${query}`)).json();
  if (answer.status !== "success") throw new Error(answer.error);
  return answer.data.result.map(({ metric, value, values }) => ({
    target,
    labels: metric,
    name: nameOf(target, metric),
    points: (values ?? [value]).map(([at, number]) => [at, Number(number)]),
  }));
}

function nameOf(target, labels) {
  return (target.legendFormat ?? "").replace(/\{\{(\w+)\}\}/g, (_, label) => labels[label] ?? "");
}

// The lines that are drawn into every graph: when, and of what colour. Each value of their queries is a time.
async function findMarks() {
  const marks = [];
  for (const { expr, iconColor } of dashboard.annotations?.list ?? []) {
    for (const { points } of await ask({}, { expr })) {
      marks.push(...points.map(([, at]) => ({ xAxis: at, lineStyle: { color: colour(iconColor) }, itemStyle: { color: colour(iconColor) } })));
    }
  }
  return marks;
}

// ---- values ----

function short(value, decimals) {
  const places = (scaled) => decimals ?? (Math.abs(scaled) >= 100 ? 0 : Math.abs(scaled) >= 10 ? 1 : Math.abs(scaled) >= 0.1 ? 2 : 4);
  const scaled = Math.abs(value) >= 1e6 ? [value / 1e6, " Mil"] : Math.abs(value) >= 1e4 ? [value / 1e3, " K"] : [value, ""];
  const text = scaled[0].toFixed(places(scaled[0]));
  return (decimals === undefined && text.includes(".") ? text.replace(/\.?0+$/, "") : text) + scaled[1];
}

function duration(value, decimals) {
  const size = Math.abs(value);
  for (const [unit, name] of [[86400, " day"], [3600, " hour"], [60, " min"]]) {
    if (size >= unit) return (value / unit).toFixed(decimals || 1).replace(/\.0+$/, "") + name + (size === unit ? "" : "s");
  }
  return size >= 1 || size === 0 ? short(value, decimals) + " s" : short(value * 1000, decimals) + " ms";
}

function format(value, unit, decimals) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  switch (unit) {
    case "s": return duration(value, decimals);
    case "percentunit": return short(value * 100, decimals) + "%";
    case "bytes": return short(value / 1048576, decimals ?? 1) + " MiB";
    case "cpm": return short(value, decimals) + " cpm";
    case "dateTimeFromNow": {
      const ago = end - value / 1000;
      return ago < 45 ? "a few seconds ago" : duration(ago, 0) + " ago";
    }
    default: return short(value, decimals);
  }
}

// What is shown for a value: what it is mapped to, or the number with its unit.
function display(value, config) {
  for (const { type, options } of config.mappings ?? []) {
    if (type === "value" && options[value]) return options[value].text;
    if (type === "regex" && value !== undefined && new RegExp(`^${options.pattern}$`).test(value)) return options.result.text;
  }
  return typeof value === "string" ? value : format(value, config.unit, config.decimals);
}

function threshold(value, config) {
  const passed = config.thresholds.steps.filter((step) => step.value === null || value >= step.value);
  return colour(passed[passed.length - 1].color);
}

// What is configured for a field: the panel's defaults and the overrides of its name.
function field(panel, name) {
  const config = { ...panel.fieldConfig.defaults, custom: { ...panel.fieldConfig.defaults.custom } };
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    if (matcher.options !== name) continue;
    for (const { id, value } of properties) {
      if (id.startsWith("custom.")) config.custom[id.slice(7)] = value;
      else config[id] = value;
    }
  }
  return config;
}

function element(parent, kind, text = "", style = "") {
  const made = parent.appendChild(document.createElement("div"));
  made.className = kind;
  made.textContent = text;
  made.style.cssText = style;
  return made;
}

const clock = (at) => new Date(at * 1000).toISOString().slice(11, 16);

// ---- panels ----

function stat(panel, series, body) {
  body.classList.add("stats");
  for (const { name, points } of series) {
    const config = field(panel, name);
    const value = points[points.length - 1][1];
    const tint = threshold(value, config);
    const solid = panel.options.colorMode === "background_solid";
    const box = element(body, "stat", "", solid ? `background: ${tint}; color: #111217` : `color: ${tint}`);
    if (series.length > 1) element(box, "statname", name, solid ? "color: inherit" : "");
    element(box, "statvalue", format(value, config.unit, config.decimals));
  }
}

function axes(panel, config, width) {
  const grey = { lineStyle: { color: "rgba(204, 204, 220, 0.1)" } };
  return {
    animation: false,
    grid: { left: 8, right: 12, top: 10, bottom: 4, containLabel: true },
    xAxis: {
      type: "time", min: START * 1000, max: end * 1000, splitNumber: Math.round(width / 90), splitLine: { show: true, ...grey },
      axisLine: { show: false }, axisTick: { show: false },
      axisLabel: { color: "#9d9da8", fontSize: 11, hideOverlap: true, formatter: (at) => clock(at / 1000) },
    },
    yAxis: {
      type: "value", min: config.min, max: config.max, splitNumber: 4, splitLine: grey,
      axisLabel: { color: "#9d9da8", fontSize: 11, formatter: (value) => format(value, config.unit) },
    },
  };
}

function timeseries(panel, series, body) {
  const step = stepOf(panel);
  const chart = element(body, "chart");
  const legend = element(body, "legend");
  const config = panel.fieldConfig.defaults;
  const option = axes(panel, config, body.clientWidth);
  const width = (body.clientWidth - 70) / (range / step);
  option.series = series.map(({ name, points }, index) => {
    const own = field(panel, name);
    const tint = own.color?.mode === "fixed" ? colour(own.color.fixedColor) : PALETTE[index % PALETTE.length];
    const item = element(legend, "entry", name);
    item.style.setProperty("--tint", tint);
    const known = new Map(points);
    const data = [];
    for (let at = START; at <= end; at += step) data.push([at * 1000, known.get(at) ?? null]);
    const bars = own.custom.drawStyle === "bars";
    return {
      name, data, type: bars ? "bar" : "line", barWidth: Math.max(width * 0.9, 1), showSymbol: false, connectNulls: false,
      stack: own.custom.stacking.mode === "normal" ? "all" : undefined, color: tint,
      lineStyle: { width: own.custom.lineWidth || 1, type: own.custom.lineStyle ? "dashed" : "solid" },
      areaStyle: bars ? undefined : { opacity: own.custom.fillOpacity / 100 },
      itemStyle: { opacity: 0.9 },
    };
  });
  option.series[0].markLine = { symbol: ["triangle", "none"], symbolSize: 7, silent: true, animation: false, label: { show: false }, data: marks };
  echarts.init(chart).setOption(option);
}

function heatmap(panel, series, body) {
  const step = stepOf(panel);
  const bound = (text) => (text === "+Inf" ? Infinity : Number(text));
  const rows = [...series].sort((one, other) => bound(one.labels.le) - bound(other.labels.le));
  const times = [];
  for (let at = START; at <= end; at += step) times.push(at);
  const columns = rows.map(({ points }) => new Map(points));
  const data = [];
  let most = 0;
  times.forEach((at, x) => columns.forEach((column, y) => {
    const value = (column.get(at) ?? 0) - (y > 0 ? columns[y - 1].get(at) ?? 0 : 0);
    if (value > 1e-9) data.push([x, y, Math.sqrt(value)]);
    most = Math.max(most, Math.sqrt(Math.max(value, 0)));
  }));
  const label = { color: "#9d9da8", fontSize: 11 };
  echarts.init(element(body, "chart")).setOption({
    animation: false,
    grid: { left: 8, right: 12, top: 10, bottom: 4, containLabel: true },
    xAxis: { type: "category", data: times.map(clock), axisLabel: { ...label, interval: Math.round(times.length / 7) }, axisTick: { show: false } },
    yAxis: { type: "category", data: rows.map(({ labels }) => (labels.le === "+Inf" ? "more" : duration(Number(labels.le)))), axisLabel: label, axisTick: { show: false } },
    visualMap: { show: false, min: 0, max: most, inRange: { color: ["#12233f", "#1f60c4", "#8ab8ff", "#e6f0ff"] } },
    series: [{ type: "heatmap", data, itemStyle: { borderColor: "#181b1f", borderWidth: times.length > 100 ? 0 : 1 } }],
  });
}

function timeline(panel, series, body) {
  const step = stepOf(panel);
  const config = panel.fieldConfig.defaults;
  body.classList.add("timeline");
  for (const { name, points } of series) {
    const row = element(body, "lane");
    element(row, "lanename", name);
    const track = element(row, "track");
    let open = null;
    for (const [at, value] of points) {
      if (open && open.value === value && at - open.until <= step) {
        open.until = at;
      } else {
        open = { value, since: at, until: at, cell: element(track, "cell") };
      }
      const [left, width] = [(open.since - START) / range, (open.until - open.since + step) / range];
      open.cell.style.cssText = `left: ${left * 100}%; width: ${Math.min(width, 1 - left) * 100}%; background: ${threshold(value, config)}`;
      open.cell.textContent = width * body.clientWidth > 24 ? display(value, config) : "";
    }
  }
  const foot = element(body, "hours");
  for (let part = 0; part <= 6; part++) element(foot, "hour", clock(START + (range * part) / 6));
}

// Joins the answers of a table's queries into lines, then names and orders its columns.
function lines(panel, series) {
  const transformations = panel.transformations ?? [];
  const several = panel.targets.length > 1;
  const join = transformations.find(({ id }) => id === "joinByField")?.options.byField;
  const shared = panel.targets.map(({ refId }) => {
    const first = series.find(({ target }) => target.refId === refId);
    return first ? new Set(Object.keys(first.labels)) : null;
  }).filter(Boolean);
  const keys = join ? [join] : [...(shared[0] ?? [])].filter((label) => shared.every((labels) => labels.has(label)));
  const joined = new Map();
  for (const { target, labels, points } of series) {
    const key = JSON.stringify(keys.map((label) => labels[label]));
    const line = joined.get(key) ?? {};
    joined.set(key, { ...labels, ...line, [several ? `Value #${target.refId}` : "Value"]: points[points.length - 1][1] });
  }
  const { indexByName, renameByName } = transformations.find(({ id }) => id === "organize").options;
  const columns = Object.keys(renameByName).sort((one, other) => indexByName[one] - indexByName[other]);
  return { lines: [...joined.values()], columns: columns.map((from) => ({ from, to: renameByName[from] })) };
}

function table(panel, series, body) {
  const { lines: all, columns } = lines(panel, series);
  const sort = panel.options.sortBy.map(({ displayName, desc }) => ({ from: columns.find(({ to }) => to === displayName).from, desc }));
  all.sort((one, other) => {
    for (const { from, desc } of sort) {
      if (one[from] !== other[from]) return (one[from] < other[from] || one[from] === undefined ? -1 : 1) * (desc ? -1 : 1);
    }
    return 0;
  });
  const grid = element(body, "table", "", `grid-template-columns: ${columns.map(({ to }) => (to.includes("_id") ? "1.8fr" : "minmax(min-content, 1fr)")).join(" ")}`);
  for (const { to } of columns) element(grid, "head", to);
  for (const line of all) {
    for (const { from, to } of columns) {
      const value = line[from];
      const config = field(panel, to);
      const isText = typeof value === "string";
      const cell = element(grid, isText ? "celltext" : "cellnumber", display(value, config));
      if (config.links && isText) cell.classList.add("link");
      const kind = config.custom.cellOptions?.type;
      if (value === undefined || isText) continue;
      if (kind === "color-background") cell.style.cssText = `background: ${threshold(value, config)}; color: #111217`;
      if (kind === "color-text") cell.style.color = threshold(value, config);
    }
  }
}

function bargauge(panel, series, body) {
  body.classList.add("gauges");
  const most = Math.max(...series.map(({ points }) => points[0][1]));
  for (const { name, points } of series) {
    const config = field(panel, name);
    const row = element(body, "gauge");
    element(row, "gaugename", name);
    const track = element(row, "track");
    const value = points[0][1];
    element(track, "cell", "", `left: 0; width: ${(value / most) * 100}%; background: ${threshold(value, config)}`);
    element(row, "gaugevalue", format(value, config.unit, config.decimals));
  }
}

const KINDS = { stat, timeseries, heatmap, table, bargauge, "state-timeline": timeline };

// ---- the page ----

let marks = [];

async function draw() {
  marks = await findMarks();
  const header = element(document.body, "header");
  element(header, "title", dashboard.title);
  for (const [name, value] of Object.entries(names)) {
    const box = element(header, "variable");
    element(box, "label", name);
    element(box, "value", value);
  }
  for (const { name } of dashboard.annotations?.list ?? []) {
    const box = element(header, "variable");
    element(box, "label", name);
    element(box, "value", "shown");
  }
  element(header, "note", "drawn from the panels' queries over simulated data; not a screenshot of Grafana");
  const grid = element(document.body, "grid");
  for (const panel of dashboard.panels) {
    const { x, y, w, h } = panel.gridPos;
    const place = `grid-area: ${y + 1} / ${x + 1} / span ${h} / span ${w}`;
    if (panel.type === "row") {
      element(grid, "rowtitle", panel.title, place);
      continue;
    }
    const box = element(grid, "panel", "", place);
    element(box, "paneltitle", panel.title);
    const body = element(box, "body");
    const series = (await Promise.all(panel.targets.map((target) => ask(panel, target)))).flat();
    if (series.length === 0) element(body, "none", panel.fieldConfig.defaults.noValue ?? "No data");
    else KINDS[panel.type](panel, series, body);
  }
}

draw().catch((error) => element(document.body, "failure", String(error))).finally(() => {
  document.title = "drawn";
});
