(() => {
  const main = document.querySelector("main");
  const lost = document.getElementById("lost");
  let timer = null, busy = false, again = false, shown = "";

  const swap = (html) => {
    if (html === shown) return;
    shown = html;
    const boxes = () => [...main.querySelectorAll(".scroll")];
    const places = boxes().map((box) => box.scrollLeft);
    main.innerHTML = html;
    boxes().forEach((box, i) => { box.scrollLeft = places[i] ?? 0; });
  };

  const refresh = async () => {
    timer = null;
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch("/?fragment=1");
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error(answer.statusText);
      swap(await answer.text());
    } catch {
      lost.hidden = false;
    }
    busy = false;
    if (again) { again = false; soon(); }
  };

  // A burst of events is one change of the page. The first starts the clock, so a steady stream cannot hold it off.
  const soon = () => { timer ??= setTimeout(refresh, 150); };

  const connect = () => {
    const source = new EventSource("/v1/events?plain=true");
    source.onopen = () => { lost.hidden = true; soon(); };
    source.onmessage = soon;
    source.onerror = () => {
      lost.hidden = false;
      // The browser tries again by itself unless the node refused.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => { soon(); connect(); }, 2000);
    };
  };
  connect();

  // Not all that the page shows is an event: restarts, resources, process ids.
  setInterval(() => { if (!document.hidden) soon(); }, 10000);
})();
