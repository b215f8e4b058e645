// Counts the wait on this page down. What was typed stays, and the buttons work again once the wait is over.
"use strict";

for (const timer of document.querySelectorAll("[data-seconds]")) {
  const over = performance.now() + 1000 * Number(timer.dataset.seconds);
  const number = timer.querySelector("span");
  // Where only some of the buttons have to wait, they say so.
  const some = document.querySelectorAll("form button[data-waits]");
  const buttons = some.length ? some : document.querySelectorAll("form button");
  for (const button of buttons) button.disabled = true;
  const counting = setInterval(() => {
    const left = Math.ceil((over - performance.now()) / 1000);
    if (left > 0) {
      number.textContent = left;
      return;
    }
    clearInterval(counting);
    timer.setAttribute("aria-live", "polite");
    timer.textContent = timer.dataset.over;
    for (const button of buttons) button.disabled = false;
  }, 200);
}
