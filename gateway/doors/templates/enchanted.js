// Asks every four seconds whether the link was opened; ends when it was, when the wait is over, and when the page is left.
"use strict";

const form = document.getElementById("wait");
const state = document.getElementById("state");
const until = performance.now() + 1000 * Number(form.dataset.life);
let asking = setInterval(ask, 4000);
state.textContent = "Waiting …";

function end(sentence) {
  clearInterval(asking);
  asking = undefined;
  state.textContent = sentence;
}

async function ask() {
  if (performance.now() > until) return end("The wait is over. Ask for new links.");
  let reply;
  try {
    reply = await fetch(form.action, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify({ journey: form.elements.journey.value }),
    });
  } catch {
    return; // the network will be back
  }
  if (asking === undefined || reply.status === 202 || reply.status === 429 || reply.status >= 500) return;
  if (reply.ok) {
    end("Signed in.");
    location.replace("/.auth/login?rd=" + encodeURIComponent(form.elements.rd.value));
  } else {
    end("The wait is over. Ask for new links.");
  }
}

addEventListener("pagehide", () => clearInterval(asking));
