// The pages work without this. It adds: a button that copies, a question before what cannot be
// undone, times in the reader's own zone, and what goes on without the page being loaded anew.
// Nothing of it is asked of anybody else.
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
  const tell = () => {
    for (const time of document.querySelectorAll("time[data-ct-time]")) {
      const moment = new Date(time.dateTime);
      if (!isNaN(moment)) time.textContent = format.format(moment);
    }
  };
  tell();

  // <div data-ct-again="SECONDS;url=URL">: what is there then takes this page's place, and
  // whatever has the focus keeps it. Not while somebody fills in a form.
  const place = (element) => {
    if (!element?.closest(".ct")) return null;
    if (element.id) return `#${CSS.escape(element.id)}`;
    const link = element.getAttribute("href");
    return link && `[href="${CSS.escape(link)}"]`;
  };
  const again = async () => {
    const wanted = document.querySelector("[data-ct-again]")?.dataset.ctAgain;
    if (!wanted) return;
    const [seconds, url] = wanted.split(";url=");
    await new Promise((done) => { setTimeout(done, seconds * 1000); });
    if (!document.activeElement?.matches("input, select, textarea")) {
      try {
        const answer = await fetch(url, { headers: { Accept: "text/html" } });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const content = page.querySelector(".ct");
        if (!answer.ok || !content) { location.assign(url); return; }
        const focus = place(document.activeElement);
        document.querySelector(".ct").replaceWith(content);
        document.title = page.title;
        history.replaceState(null, "", answer.url);
        if (focus) document.querySelector(focus)?.focus({ preventScroll: true });
        tell();
      } catch {
        // (The server is not there just now: asked again like everything else.)
      }
    }
    again();
  };
  again();
})();
