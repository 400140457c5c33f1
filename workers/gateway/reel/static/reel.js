"use strict";
// Keeps a page fresh: loads it again every few seconds and puts what has changed in the old one's place, but never
// under the focus of whoever is there. Without this script the page is whole; only time stands still on it.

(() => {
  const LATEST_MS = 60000;
  const live = () => document.querySelector("main[data-live-ms]");
  let waitMs = live() ? Number(live().dataset.liveMs) : 0;
  if (!waitMs) return;

  const renew = (old, fresh) => {
    if (old.contains(document.activeElement) || old.innerHTML === fresh.innerHTML) return;
    // A child that is the same stays, so that a picture in it does not flicker.
    const known = new Map([...old.children].filter((each) => each.id).map((each) => [each.id, each]));
    const children = [...fresh.childNodes].map((each) => {
      const same = each.id ? known.get(each.id) : undefined;
      return same && same.outerHTML === each.outerHTML ? same : document.importNode(each, true);
    });
    old.replaceChildren(...children);
  };

  const look = async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) {
      location.reload(); // the session has ended: the page that says so
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.querySelector("main[data-live-ms]")) {
      location.reload(); // nothing more will happen here: the whole page, with its film
      return;
    }
    for (const old of document.querySelectorAll("[data-live]")) {
      const fresh = page.querySelector(`[data-live="${old.dataset.live}"]`);
      if (fresh) renew(old, fresh);
    }
    waitMs = Number(live().dataset.liveMs);
  };

  const again = () =>
    setTimeout(async () => {
      try {
        await look();
      } catch {
        waitMs = Math.min(waitMs * 2, LATEST_MS); // whoever is away is not asked more often for it
      }
      again();
    }, waitMs);
  again();
})();
