// What the delinquency and scoring pages do without the server.
(function () {
  "use strict";

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.creditRiskViews = {
    // The chosen model version in the address, unless it is the champion.
    keepVersion: function (version, versions) {
      var known = (versions || []).filter(function (entry) { return /, champion$/.test(entry.label); });
      var usual = known.length ? known[0].value : (versions || []).length ? versions[0].value : "";
      if (/\/model$/.test(window.location.pathname)) {
        var text = version && version !== usual ? "?version=" + encodeURIComponent(version) : "";
        window.history.replaceState(window.history.state, "", window.location.pathname + text);
      }
      return "version";
    },

    // The switches in the address, so that the view can be shared; those left as they were are not named.
    keepDelinquency: function (purposes, late, cohort, months, tapes, pairs) {
      var query = new URLSearchParams(), usual = { late: "ever_90", cohort: "quarter", months: "3", tapes: (pairs || []).length ? pairs[0].value : "" };
      if (purposes && purposes.length) { query.set("purpose", purposes.join(",")); }
      [["late", late], ["cohort", cohort], ["months", months], ["tapes", tapes]].forEach(function (pair) {
        if (pair[1] && pair[1] !== usual[pair[0]]) { query.set(pair[0], pair[1]); }
      });
      var text = query.toString().replace(/%2C/g, ",");
      if (/\/delinquency$/.test(window.location.pathname)) {
        window.history.replaceState(window.history.state, "", window.location.pathname + (text ? "?" + text : ""));
      }
      return purposes && purposes.length ? "" : "Every purpose";
    }
  };
})();
