// A run's page while it goes: the server renders every word and figure, this fetches them anew when the run's event stream has news,
// draws the curve with the shared chart, and follows the log. Without it the page is whole, and stands still.
(function () {
  const LINES = 1000, PAUSE_MS = 500;
  const curve = document.getElementById('curve'), live = document.getElementById('live'), log = document.getElementById('log');
  if (!curve || !live || !log) return;
  const follow = document.getElementById('follow');
  let steps = Number(curve.dataset.steps) || 0;
  let curves = { train: JSON.parse(curve.dataset.train || '[]'), eval: JSON.parse(curve.dataset.eval || '[]') };
  let chart = null, hopeless = !window.LuthierRunChart, asking = false, again = false, ended = false, following = true;
  let lines = log.textContent ? log.textContent.split('\n') : [];
  const going = () => Boolean(live.querySelector('[data-going=yes]'));

  // the shared chart takes the picture's place once its program is there; until then, and without it, the picture stays
  function mount() {
    if (chart || hopeless) return;
    window.LuthierRunChart.load().then(() => {
      if (chart) return;
      const place = document.getElementById('chart');
      place.hidden = false;
      document.getElementById('picture').hidden = true;
      chart = window.LuthierRunChart.mount(place, { steps });
      chart.update({ curves });
    }).catch(() => { hopeless = true; });
  }

  function draw(news) {
    if (hopeless) return;
    if (news.curves) curves = news.curves;
    else if (!chart) { curves = { train: curves.train.concat(news.train || []), eval: curves.eval.concat(news.eval || []) }; }
    if (chart) chart.update({ curves: news.curves, train: news.train, eval: news.eval, steps });
    else if (curves.train.length) mount();
  }

  async function refresh() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(curve.dataset.page + '?part=live');
      if (answer.ok) {
        const focused = document.activeElement && live.contains(document.activeElement) ? document.activeElement.value : '';
        live.innerHTML = await answer.text();
        const button = focused && live.querySelector('button[value="' + focused + '"]');
        if (button) button.focus();
      }
    } catch (error) { /* the stream says when the server is back */ }
    setTimeout(() => {
      asking = false;
      if (ended) location.reload();
      else if (again) { again = false; refresh(); }
    }, PAUSE_MS);
  }

  // what a run in Azure went through is a table of the whole page: fetched anew when its phase is another
  let phase = '';
  async function phases(now) {
    const panel = document.querySelector('[data-testid=cloud]');
    if (!panel || now === phase) return;
    phase = now;
    try {
      const answer = await fetch(curve.dataset.page);
      const found = answer.ok && new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('[data-testid=cloud]');
      if (found) panel.innerHTML = found.innerHTML;
    } catch (error) { /* the next phase asks again */ }
  }

  function show(news) {
    const skipped = news.skipped_bytes ? ['… ' + news.skipped_bytes + ' bytes left out'] : [];
    lines = (news.again ? [] : lines).concat(skipped, news.lines || []).slice(-LINES);
    log.textContent = lines.concat(news.bar ? [news.bar] : []).join('\n');
    if (following) log.scrollTop = log.scrollHeight;
  }

  log.addEventListener('scroll', () => {
    following = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    follow.hidden = following;
  });
  document.getElementById('follow-again').addEventListener('click', () => { log.scrollTop = log.scrollHeight; });
  log.scrollTop = log.scrollHeight;
  if (curves.train.length || curves.eval.length) mount();
  if (!going()) return;

  let begun = false;
  const source = new EventSource(curve.dataset.events);
  source.addEventListener('open', () => { begun = false; });
  source.addEventListener('news', (event) => {
    const news = JSON.parse(event.data);
    if (news.view && news.view.steps) steps = news.view.steps;
    if (news.curves || (news.train && news.train.length) || (news.eval && news.eval.length)) draw(news);
    if (news.log && !Array.isArray(news.log)) { show(begun ? news.log : { ...news.log, again: true }); begun = true; }
    if (news.view) { refresh(); phases(news.view.state + news.view.phase); }
  });
  source.addEventListener('end', () => {  // files, hashes and scores are there now; a question under way is not broken off
    source.close();
    ended = true;
    if (!asking) location.reload();
  });
})();
