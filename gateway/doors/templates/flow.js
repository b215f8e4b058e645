// Runs <descope-wc> on the page /.auth/flow, and brings what a flow ends with to /.auth/session.
"use strict";
(() => {
  const stage = document.getElementById("flow");
  const loading = document.getElementById("flow-loading");
  const problem = document.getElementById("flow-problem");
  const sentence = document.getElementById("flow-sentence");
  const again = document.getElementById("flow-again");
  const template = document.getElementById("flow-component");
  const sentences = {
    E102004: "The sign-in has changed meanwhile.",
    E103205: "The sign-in has taken too long.",
    E108201: "The sign-in was continued somewhere else.",
    E130429: "Sign-in is busy just now.",
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let component = null;

  const show = (text) => {
    loading.hidden = true;
    component?.remove();
    component = null;
    sentence.textContent = text;
    problem.hidden = false;
    again.focus();
  };

  const send = (path, body) =>
    fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "same-origin",
    });

  // "os" is understood by the component, and complained of.
  const paint = () => {
    const { theme } = stage.dataset;
    component?.setAttribute("theme", theme === "os" ? (dark.matches ? "dark" : "light") : theme);
  };
  dark.addEventListener("change", paint);

  const failed = (detail) => {
    const code = String(detail?.errorCode ?? "");
    send("/.auth/flow/error", { code }).catch(() => {});
    show(sentences[code] ?? "The sign-in failed.");
  };

  // Where the component keeps things. Tokens it is told not to keep, and has no place for; the nonces of this page's own
  // runs go when one is over, while those of other tabs stay.
  const tokens = /^(DS|DSR|DSI|DSRCN|DTD|DKD)$/;
  const nonces = new Set();
  const noted = (key) => {
    if (key.startsWith("descopeFlowNonce")) nonces.add(key);
    return key;
  };
  const storage = {
    getItem: (key) => localStorage.getItem(noted(key)),
    setItem: (key, value) => tokens.test(key) || localStorage.setItem(noted(key), value),
    removeItem: (key) => localStorage.removeItem(key),
  };
  const forget = () => {
    nonces.forEach((key) => localStorage.removeItem(key));
    nonces.clear();
    sessionStorage.removeItem("dls_last_submitted_login_id");
  };

  const arrived = async ({ sessionJwt, refreshJwt } = {}) => {
    loading.hidden = false;
    component.hidden = true;
    if (!sessionJwt || !refreshJwt) return show("The flow ended without a session.");
    let answer;
    try {
      answer = await send("/.auth/session", { sessionJwt, refreshJwt });
      await answer.text();
    } catch {
      return show("The gateway cannot be reached just now.");
    } finally {
      forget();
    }
    if (!answer.ok) return show("The session was not accepted.");
    location.replace(stage.dataset.rd);
  };

  // The component's own attribute for it is read too late: browsers hide a nonce from scripts that ask for the attribute.
  globalThis.DESCOPE_NONCE = stage.nonce;

  const begin = () => {
    problem.hidden = true;
    const defined = customElements.get("descope-wc");
    if (!defined || !globalThis.DescopeUI) return failed({});
    defined.sdkConfigOverrides = {
      ...defined.sdkConfigOverrides,
      persistTokens: false,
      autoRefresh: stage.dataset.autoRefresh === "true",
    };
    loading.hidden = false;
    component = document.importNode(template.content.firstElementChild, true);
    component.customStorage = storage;
    component.setAttribute("base-url", `${location.origin}/.auth/descope`);
    component.setAttribute("base-static-url", `${location.origin}/.auth/descope/pages`);
    component.setAttribute("base-cdn-url", location.origin + stage.dataset.ui);
    component.setAttribute("redirect-url", new URL(stage.dataset.redirectUrl, location.origin).href);
    paint();
    component.addEventListener("ready", () => (loading.hidden = true));
    component.addEventListener("success", (event) => arrived(event.detail));
    component.addEventListener("error", (event) => failed(event.detail));
    stage.append(component);
  };

  again.addEventListener("click", begin);
  begin();
})();
