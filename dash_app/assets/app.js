// What happens without the server: the filters' state in the URL, their buttons and chips, drill-down, relative times.
(function () {
  "use strict";

  // In the order of the server's dimensions; see components/ids.py.
  var KEYS = ["risk", "rating", "purpose", "status", "score", "dpd", "region"];
  var NAMES = {
    risk: "Risk category", rating: "Model rating", purpose: "Purpose", status: "Status", score: "Score band",
    dpd: "Days past due", region: "Region", originated: "Originated", as_of: "As of", as_of_from: "Tapes"
  };
  var PAGES = ["/", "/loans"];
  var EXPORTS = [
    "/export/loans.csv", "/export/loans.parquet", "/export/high-risk.csv", "/export/high-risk.parquet"
  ];
  var MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

  function label(value) {
    if (value === null || value === undefined || value === "") { return "–"; }
    var text = String(value);
    if (text !== text.toLowerCase()) { return text; }
    text = text.replace(/_/g, " ");
    return text.charAt(0).toUpperCase() + text.slice(1);
  }

  function withQuery(path, query) { return query ? path + "?" + query : path; }

  function pillText(key, count) { return NAMES[key] + (count ? " · " + count : ""); }

  function month(value) { return MONTHS[Number(value.slice(5)) - 1] + " " + value.slice(0, 4); }

  function wordOf(key, value) {
    if (key === "dpd") { return value === "0" ? "on time" : value.replace("-", "–") + " days"; }
    if (key === "score") { return value.replace("-", "–"); }
    if (key === "as_of") { return month(value); }
    return label(value);
  }

  // The view on screen, in the parts that the controls hold.
  var view = { as_of: "", as_of_from: "", from: null, to: null };
  KEYS.forEach(function (key) { view[key] = []; });

  function put(key, value) {
    var id = "filter-" + key;
    if (document.getElementById("filter-bar")) { window.dash_clientside.set_props(id, { value: value }); }
  }

  function chip(key, value, text) {
    return {
      type: "Button", namespace: "dash_html_components",
      props: {
        children: [
          text,
          { type: "Span", namespace: "dash_html_components", props: { className: "cross", "aria-hidden": "true" } }
        ],
        className: "chip", type: "button", title: "Remove this filter", "aria-label": "Remove filter " + text,
        "data-key": key, "data-value": value
      }
    };
  }

  function chips() {
    var found = [];
    if (view.as_of) { found.push(chip("as_of", "", NAMES.as_of + ": " + month(view.as_of))); }
    if (view.as_of_from) { found.push(chip("as_of_from", "", NAMES.as_of_from + " from " + month(view.as_of_from))); }
    KEYS.forEach(function (key) {
      view[key].forEach(function (value) { found.push(chip(key, value, NAMES[key] + ": " + wordOf(key, value))); });
    });
    if (view.from || view.to) {
      var from = (view.from || "").replace("-", " "), to = (view.to || "").replace("-", " ");
      var span = from === to ? from : from && to ? from + " to " + to : from ? "from " + from : "to " + to;
      found.push(chip("originated", "", NAMES.originated + ": " + span));
    }
    return found;
  }

  // Dash leaves the custom data of a heat map's cells out of what a click says.
  function cell(graph, point) {
    var plot = document.querySelector("#" + graph + " .js-plotly-plot");
    var trace = plot && plot.data ? plot.data[point.curveNumber || 0] : null;
    if (!trace || !trace.customdata || !trace.x || !trace.y) { return null; }
    var row = trace.customdata[trace.y.indexOf(point.y)];
    return row ? row[trace.x.indexOf(point.x)] : null;
  }

  // What the mark just clicked means: its custom data ends with a view, such as "risk=High&purpose=home".
  function clicked() {
    var context = window.dash_clientside.callback_context;
    var cause = context.triggered.length ? context.triggered[0] : null;
    if (!cause || !cause.value || !cause.value.points || !cause.value.points.length) { return null; }
    var point = cause.value.points[0], data = point.customdata;
    if (data === undefined) { data = cell(cause.prop_id.split(".")[0], point); }
    // plotly hands a pie's and a treemap's custom data over in one more array
    while (Array.isArray(data) && data.length === 1 && Array.isArray(data[0])) { data = data[0]; }
    var last = Array.isArray(data) ? data[data.length - 1] : data;
    return typeof last === "string" && last.indexOf("=") > 0 ? last : null;
  }

  // To another page of the app, as Dash's own links go there.
  function go(href) {
    window.history.pushState({}, "", href);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate")); // tells Dash's router
    window.scrollTo(0, 0);
  }

  function undo(key, value) {
    if (key === "originated") { put("from", null); put("to", null); return; }
    if (key === "as_of" || key === "as_of_from") { put(key, ""); return; }
    put(key, view[key].filter(function (one) { return one !== value; }));
  }

  document.addEventListener("click", function (event) {
    var pressed = event.target.closest ? event.target.closest(".chip") : null;
    if (!pressed) { return; }
    undo(pressed.getAttribute("data-key"), pressed.getAttribute("data-value"));
    // the chip goes; whoever uses the keyboard stays where the filters are
    var next = document.querySelector(".filter-bar .pill");
    if (next) { next.focus({ preventScroll: true }); }
  });

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.creditRisk = {
    applyFilters: function () {
      var values = Array.prototype.slice.call(arguments), at = 0;
      view.as_of = values[at++] || "";
      view.as_of_from = values[at++] || "";
      KEYS.forEach(function (key) { view[key] = values[at++] || []; });
      view.from = values[at++] || null;
      view.to = values[at++] || null;
      var query = new URLSearchParams(), texts = [], classes = [];
      if (view.as_of) { query.append("as_of", view.as_of); }
      if (view.as_of_from) { query.append("as_of_from", view.as_of_from); }
      KEYS.forEach(function (key) {
        view[key].forEach(function (value) { query.append(key, value); });
        texts.push(pillText(key, view[key].length));
        classes.push(view[key].length ? "pill active" : "pill");
      });
      if (view.from) { query.append("from", view.from); }
      if (view.to) { query.append("to", view.to); }
      var span = view.from || view.to;
      texts.push(pillText("originated", span ? 1 : 0));
      classes.push(span ? "pill active" : "pill");
      var text = query.toString();
      // The address changes without a navigation: it can be shared, and the page is not laid out anew.
      window.history.replaceState(window.history.state, "", withQuery(window.location.pathname, text));
      // the delinquency page knows the purposes alone
      var purposes = view.purpose.length ? "purpose=" + encodeURIComponent(view.purpose.join(",")) : "";
      return [
        text, withQuery("/delinquency", purposes)
      ].concat(
        PAGES.concat(EXPORTS).map(function (path) { return withQuery(path, text); }),
        texts, classes,
        [text ? "reset" : "reset idle", chips(), text ? "chips" : "chips none"]
      );
    },

    here: function (path) {
      return ["/", "/delinquency", "/loans", "/score", "/model", "/quality", "/audit"].map(function (page) {
        var here = page === path || (page === "/loans" && String(path).indexOf("/loan/") === 0);
        return here ? "nav-link here" : "nav-link";
      });
    },

    // How often the page asks for new table versions: the user's choice, which the browser remembers.
    pace: function (seconds) {
      var chosen = Number(seconds);
      return chosen > 0 ? [chosen * 1000, false] : [3600 * 1000, true];
    },

    // Another view of the loans: the grid forgets its blocks and asks again.
    reload: function () {
      if (window.dash_ag_grid) {
        window.dash_ag_grid.getApiAsync("loan-grid").then(function (api) { api.purgeInfiniteCache(); });
      }
      return window.dash_clientside.no_update;
    },

    reset: function (clicks) {
      if (!clicks) { throw window.dash_clientside.PreventUpdate; }
      return ["", ""].concat(KEYS.map(function () { return []; }), [null, null]);
    },

    // A click on a mark filters by what the mark means; a second one on a mark whose filters are all set takes
    // them away.
    drill: function () {
      var meant = clicked();
      if (!meant) { return window.dash_clientside.no_update; }
      var marks = Array.from(new URLSearchParams(meant).entries());
      function isSet(mark) {
        var now = view[mark[0]];
        return Array.isArray(now) ? now.length === 1 && now[0] === mark[1] : now === mark[1];
      }
      var away = marks.every(isSet);
      marks.forEach(function (mark) {
        var many = KEYS.indexOf(mark[0]) >= 0;
        put(mark[0], away ? (many ? [] : mark[0].indexOf("as_of") === 0 ? "" : null) : many ? [mark[1]] : mark[1]);
      });
      return window.dash_clientside.no_update;
    },

    // A click on a mark of a page without these filters opens the loans that the mark means.
    follow: function () {
      var meant = clicked();
      if (meant) {
        var query = new URLSearchParams(meant), purposes = new URLSearchParams(window.location.search).get("purpose");
        (purposes ? purposes.split(",") : []).forEach(function (one) { query.append("purpose", one); });
        go("/loans?" + query.toString());
      }
      return window.dash_clientside.no_update;
    }
  };

  window.dashAgGridFunctions = window.dashAgGridFunctions || {};
  window.dashAgGridFunctions.creditRiskLabel = label;

  window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {};
  window.dashAgGridComponentFunctions.LoanLink = function (props) {
    if (!props.value) { return null; }
    var href = "/loan/" + encodeURIComponent(props.value);
    return window.React.createElement("a", {
      href: href,
      onClick: function (event) {
        if (event.ctrlKey || event.metaKey || event.shiftKey) { return; }
        event.preventDefault();
        go(href);
      }
    }, props.value);
  };

  // Whether the server answers: where it does not, a banner says that the numbers on screen are the last ones.
  function reached(yes) {
    var banner = document.getElementById("unreachable");
    if (!banner || banner.hidden === yes) { return; }
    banner.hidden = yes;
    banner.textContent = yes ? "" : "The dashboard’s server does not answer. What you see is what it last said; " +
      "the page asks again by itself.";
  }

  // A session that is over: the page goes to the log-in, and comes back to where it was.
  var ask = window.fetch, leaving = false;
  window.fetch = function () {
    return ask.apply(window, arguments).then(function (answer) {
      if (answer.status === 401 && !leaving) {
        leaving = true;
        window.location.reload();
      }
      reached(answer.status < 502 || answer.status > 504); // a proxy answers in its place
      return answer;
    }, function (error) {
      if (error && error.name !== "AbortError" && !leaving) { reached(false); }
      throw error;
    });
  };
  window.addEventListener("pagehide", function () { leaving = true; });

  function ago(moment) {
    var seconds = (Date.now() - moment) / 1000;
    if (seconds < 60) { return "just now"; }
    if (seconds < 3600) { return Math.floor(seconds / 60) + " min ago"; }
    if (seconds < 172800) { return Math.floor(seconds / 3600) + " h ago"; }
    return Math.floor(seconds / 86400) + " days ago";
  }

  window.setInterval(function () {
    document.querySelectorAll("time[datetime]").forEach(function (element) {
      var moment = Date.parse(element.getAttribute("datetime"));
      if (!isNaN(moment) && element.firstChild) { element.firstChild.nodeValue = ago(moment); }
    });
  }, 30000);
})();
