// What happens without the server: the filters' state in the URL, the filter buttons, drill-down, relative times.
(function () {
  "use strict";

  // In the order of the server's dimensions; see components/ids.py.
  var KEYS = ["risk", "purpose", "status", "score", "dpd", "region"];
  var NAMES = {
    risk: "Risk category", purpose: "Purpose", status: "Status", score: "Score band", dpd: "Days past due",
    region: "Region", originated: "Originated"
  };
  var PAGES = ["/", "/loans"];
  var EXPORTS = ["/export/loans.csv", "/export/high-risk.csv"];

  function label(value) {
    if (value === null || value === undefined || value === "") { return "–"; }
    var text = String(value);
    if (text !== text.toLowerCase()) { return text; }
    text = text.replace(/_/g, " ");
    return text.charAt(0).toUpperCase() + text.slice(1);
  }

  function withQuery(path, query) { return query ? path + "?" + query : path; }

  function pillText(key, values) {
    if (!values.length) { return NAMES[key]; }
    var first = key === "dpd" ? values[0] + " days" : label(values[0]);
    return NAMES[key] + ": " + first + (values.length > 1 ? " +" + (values.length - 1) : "");
  }

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.creditRisk = {
    applyFilters: function () {
      var values = Array.prototype.slice.call(arguments);
      var asOf = values[0] || "", since = values[KEYS.length + 1] || "", until = values[KEYS.length + 2] || "";
      var query = new URLSearchParams(), texts = [], classes = [], filtered = Boolean(since || until);
      if (asOf) { query.append("as_of", asOf); }
      KEYS.forEach(function (key, place) {
        var chosen = values[place + 1] || [];
        chosen.forEach(function (value) { query.append(key, value); });
        filtered = filtered || chosen.length > 0;
        texts.push(pillText(key, chosen));
        classes.push(chosen.length ? "pill active" : "pill");
      });
      if (since) { query.append("from", since); }
      if (until) { query.append("to", until); }
      var span = since && until ? since + " to " + until : since ? "from " + since : until ? "to " + until : "";
      texts.push(span ? NAMES.originated + ": " + span.replace(/(\d{4})-(Q\d)/g, "$1 $2") : NAMES.originated);
      classes.push(span ? "pill active" : "pill");
      var text = query.toString();
      // The address changes without a navigation: it can be shared, and the page is not laid out anew.
      window.history.replaceState(window.history.state, "", withQuery(window.location.pathname, text));
      return [
        text
      ].concat(
        PAGES.concat(EXPORTS).map(function (path) { return withQuery(path, text); }),
        texts, classes,
        [filtered || asOf ? "reset" : "reset idle"]
      );
    },

    here: function (path) {
      return ["/", "/loans", "/model", "/quality", "/audit"].map(function (page) {
        var here = page === path || (page === "/loans" && String(path).indexOf("/loan/") === 0);
        return here ? "nav-link here" : "nav-link";
      });
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
      return [""].concat(KEYS.map(function () { return []; }), [null, null]);
    },

    drill: function () {
      var nothing = KEYS.map(function () { return window.dash_clientside.no_update; });
      var context = window.dash_clientside.callback_context;
      var cause = context.triggered.length ? context.triggered[0] : null;
      if (!cause || !cause.value || !cause.value.points || !cause.value.points.length) { return nothing; }
      var graph = cause.prop_id.split(".")[0], point = cause.value.points[0];
      var data = point.customdata || [];
      // plotly hands a pie's and a treemap's custom data over in one more array
      if (data.length === 1 && Array.isArray(data[0])) { data = data[0]; }
      var marks = {
        "risk-donut": [["risk", data[2]]], "dpd": [["dpd", data[0]]], "score": [["score", data[0]]],
        "purpose": [["purpose", data[0]]], "risk-purpose": [["risk", data[2]], ["purpose", data[3]]],
        "regions": [["region", data[3]]]
      }[graph] || [];
      var states = Array.prototype.slice.call(arguments, -KEYS.length);
      marks.forEach(function (mark) {
        var place = KEYS.indexOf(mark[0]), now = states[place] || [];
        if (mark[1] === undefined || mark[1] === null) { return; }
        // a second click on the same mark takes the filter away
        nothing[place] = now.length === 1 && now[0] === mark[1] && marks.length === 1 ? [] : [mark[1]];
      });
      return nothing;
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
        window.history.pushState({}, "", href);
        // the event by which Dash's own links tell its router
        window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
        window.scrollTo(0, 0);
      }
    }, props.value);
  };

  // A session that is over: the page goes to the log-in, and comes back to where it was.
  var ask = window.fetch, leaving = false;
  window.fetch = function () {
    return ask.apply(window, arguments).then(function (answer) {
      if (answer.status === 401 && !leaving) {
        leaving = true;
        window.location.reload();
      }
      return answer;
    });
  };

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
