// Chainlit puts a thread's address into the location bar only when it is served at "/" (2.12, November 2026). It is served below
// "/chat", so a reload would open an empty chat: the server tells the thread's id, and this writes the address that a reload needs.
window.addEventListener('message', (event) => {
  if (event.source !== window || event.origin !== window.location.origin || !event.data) return;
  const thread = event.data.luthier_thread;
  if (typeof thread !== 'string' || !/^[0-9a-f-]{36}$/.test(thread)) return;
  const address = '/chat/thread/' + thread;
  if (/^\/chat\/?$/.test(window.location.pathname)) window.history.replaceState(window.history.state, '', address);
});

// Opening a thread's address makes Chainlit (2.12) connect twice: once before it knows the thread and once after. Each connection first
// asks for a cookie and the last to be answered wins, so an answer that overtakes the other left the page turning for ever on an empty
// chat. The answers are handed over in the order of their questions, each whole, so that nothing overtakes between head and body.
(function () {
  const send = window.fetch.bind(window);
  let before = Promise.resolve();
  window.fetch = function (wanted, options) {
    const address = new URL(wanted instanceof Request ? wanted.url : wanted, window.location.href);
    if (!address.pathname.endsWith('/set-session-cookie')) return send(wanted, options);
    const answer = send(wanted, options).then(async (response) => {
      const text = await response.text();
      const whole = new Response(text, { status: response.status, statusText: response.statusText, headers: response.headers });
      whole.json = async () => JSON.parse(text);
      return whole;
    });
    const turn = before.then(() => answer);
    before = turn.catch(() => null).then(() => new Promise((next) => setTimeout(next)));
    return turn;
  };
})();

// Chainlit (2.12) makes every card anew at each turn of the conversation. What a card must not forget then, it keeps here under its id.
(function () {
  const cards = new Map();
  window.luthierKept = function (id) {
    if (!cards.has(id)) cards.set(id, {});
    return cards.get(id);
  };
})();

// The chart's program, shared by the cards and by the run's own page; fetched once, when the first chart is wanted.
(function () {
  let loading = null;
  window.luthierChart = function () {
    if (window.LuthierRunChart) return Promise.resolve(window.LuthierRunChart);
    if (!loading) {
      loading = new Promise((ready, failed) => {
        const script = document.createElement('script');
        script.src = '/chat/public/run-chart.js';
        script.onload = () => ready(window.LuthierRunChart);
        script.onerror = () => { loading = null; script.remove(); failed(new Error('not loaded')); };
        document.head.appendChild(script);
      });
    }
    return loading;
  };
})();
