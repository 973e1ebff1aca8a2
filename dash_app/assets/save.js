// Saves a chart as a picture or its numbers as CSV, in the browser alone.
(function () {
  "use strict";

  function file(name, content) {
    var link = document.createElement("a");
    link.href = typeof content === "string" ? content : URL.createObjectURL(content);
    link.download = name;
    document.body.appendChild(link);
    link.click();
    link.remove();
    if (typeof content !== "string") { window.setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000); }
  }

  // A cell that a spreadsheet would run as a formula gets an apostrophe in front, as in the exports of loans.
  function cell(value) {
    if (value === null || value === undefined) { return ""; }
    var text = String(value);
    if (typeof value === "string" && /^\s*[=+\-@]|^[\t\r\n]/.test(text)) { text = "'" + text; }
    return /[",\r\n]/.test(text) ? "\"" + text.replace(/"/g, "\"\"") + "\"" : text;
  }

  // Figures carry their exact numbers; one that does not is told by its traces.
  function table(figure) {
    var meta = figure.layout && figure.layout.meta;
    if (meta && meta.table) { return meta.table; }
    var rows = [];
    (figure.data || []).forEach(function (trace) {
      var first = trace.x || trace.labels || [], second = trace.y || trace.values || [];
      for (var at = 0; at < Math.max(first.length, second.length); at++) {
        rows.push([trace.name || "", first[at], second[at]]);
      }
    });
    return { columns: ["series", "x", "y"], rows: rows };
  }

  function name(chart) {
    var shown = document.querySelector(".stamp-date"), day = shown ? shown.textContent.replace(/^.*as of /, "") : "";
    return (chart + " " + day).trim().replace(/[^\w]+/g, "_").toLowerCase();
  }

  // What the picture says below its title: the day and the filters, then what the chart shows.
  function lines(chart) {
    var note = document.getElementById(chart + "-note"), stamp = document.querySelector(".stamp-date");
    var chips = Array.from(document.querySelectorAll(".chip")).map(function (one) { return one.textContent; });
    return [
      [stamp ? stamp.textContent : ""].concat(chips).filter(Boolean).join("  ·  "), note ? note.textContent : ""
    ].filter(Boolean);
  }

  function picture(chart, title, plot) {
    var width = Math.max(plot.clientWidth, 640), height = plot.clientHeight + 92, below = lines(chart);
    var layout = Object.assign({}, plot.layout, {
      width: width, height: height, paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff",
      margin: Object.assign({}, plot.layout.margin, { t: 96, l: 24, r: 24, b: 24 }),
      title: {
        text: "<b>" + title + "</b>" + below.map(function (line) {
          return "<br><span style='font-size:12px;color:#566373'>" + line + "</span>";
        }).join(""),
        x: 0, xref: "container", xanchor: "left", y: 1, yref: "container", yanchor: "top",
        pad: { l: 24, t: 14 }, font: { size: 16, color: "#1c2733" }
      }
    });
    return window.Plotly.toImage(
      { data: plot.data, layout: layout, config: { plotlyServerURL: "", showSendToCloud: false } },
      { format: "png", width: width, height: height, scale: 2 }
    ).then(function (address) { file(name(chart) + ".png", address); });
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest ? event.target.closest("[data-save]") : null;
    if (!button) { return; }
    var chart = button.getAttribute("data-chart");
    var plot = document.querySelector("#" + chart + " .js-plotly-plot");
    if (!plot || !plot.data || !plot.data.length) { return; }
    if (button.getAttribute("data-save") === "png") {
      picture(chart, button.getAttribute("data-title"), plot);
      return;
    }
    var found = table(plot);
    var lines = [found.columns].concat(found.rows).map(function (row) { return row.map(cell).join(","); });
    file(name(chart) + ".csv", new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
  });
})();
