// Chainlit puts a thread's address into the location bar only when it is served at "/" (2.12, November 2026). It is served below
// "/chat", so a reload would open an empty chat: the server tells the thread's id, and this writes the address that a reload needs.
window.addEventListener('message', (event) => {
  if (event.source !== window || event.origin !== window.location.origin || !event.data) return;
  const thread = event.data.luthier_thread;
  if (typeof thread !== 'string' || !/^[0-9a-f-]{36}$/.test(thread)) return;
  const address = '/chat/thread/' + thread;
  if (/^\/chat\/?$/.test(window.location.pathname)) window.history.replaceState(window.history.state, '', address);
});
