// The pages work without this. It adds: a button that copies, a question before what cannot be
// undone, and times in the reader's own zone. Nothing of it is asked of anybody else.
"use strict";

(() => {
  // <button data-ct-copy="ID" data-ct-done="Copied" hidden>: copies the text of the element ID.
  const copy = async (button) => {
    const source = document.getElementById(button.dataset.ctCopy);
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = button.dataset.ctDone;
    } catch {
      getSelection().selectAllChildren(source);
    }
    setTimeout(() => { button.textContent = before; }, 2500);
  };
  for (const button of document.querySelectorAll("[data-ct-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", () => copy(button));
  }

  // <form data-ct-confirm="ID">: the dialog ID is asked before the form is sent. Its button with
  // value "yes" sends it. (Whatever pressed the form's button is sent along.)
  for (const form of document.querySelectorAll("form[data-ct-confirm]")) {
    const dialog = document.getElementById(form.dataset.ctConfirm);
    if (!dialog || !dialog.showModal) continue;
    let sure = false;
    form.addEventListener("submit", (event) => {
      if (sure) return;
      event.preventDefault();
      const pressed = event.submitter;
      dialog.returnValue = "";
      dialog.addEventListener("close", () => {
        if (dialog.returnValue !== "yes") return;
        sure = true;
        form.requestSubmit(pressed);
        sure = false;
      }, { once: true });
      dialog.showModal();
    });
  }

  // <time datetime="…" data-ct-time>: in the reader's language and zone.
  const language = document.querySelector(".ct")?.lang || undefined;
  const format = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[data-ct-time]")) {
    const moment = new Date(time.dateTime);
    if (!isNaN(moment)) time.textContent = format.format(moment);
  }
})();
