// The loss chart of a run, for the card in the chat and for the run's own page: Plotly, drawn in place, in bounded memory.
(function () {
  const POINTS = 1000; // what is drawn of one curve; twice as many are kept before it is thinned again
  const SOURCE = '/assets/plotly.js';
  let loading = null;

  // Plotly, fetched once from our own server, when the first chart is wanted.
  function load() {
    if (window.Plotly) return Promise.resolve(window.Plotly);
    if (!loading) {
      loading = new Promise((ready, failed) => {
        const script = document.createElement('script');
        script.src = SOURCE;
        script.onload = () => (window.Plotly ? ready(window.Plotly) : failed(new Error('empty')));
        script.onerror = () => { loading = null; script.remove(); failed(new Error('not loaded')); };
        document.head.appendChild(script);
      });
    }
    return loading;
  }

  // At most `most` points: the ends, and of each part its lowest and its highest.
  function thin(points, most) {
    if (points.length <= most) return points;
    const inner = points.length - 2, parts = Math.max(1, Math.floor((most - 2) / 2)), kept = [points[0]];
    for (let part = 0; part < parts; part += 1) {
      const from = 1 + Math.floor((part * inner) / parts), to = 1 + Math.floor(((part + 1) * inner) / parts);
      if (from >= to) continue;
      let low = from, high = from;
      for (let at = from; at < to; at += 1) {
        if (points[at][1] < points[low][1]) low = at;
        if (points[at][1] > points[high][1]) high = at;
      }
      kept.push(points[Math.min(low, high)]);
      if (low !== high) kept.push(points[Math.max(low, high)]);
    }
    kept.push(points[points.length - 1]);
    return kept;
  }

  // A step that comes again, as after a resume, replaces what followed it.
  class Curve {
    constructor() { this.points = []; }
    add(more) {
      for (const point of more || []) {
        if (!Array.isArray(point) || !Number.isFinite(point[0]) || !Number.isFinite(point[1])) continue;
        while (this.points.length && this.points[this.points.length - 1][0] >= point[0]) this.points.pop();
        this.points.push(point);
        if (this.points.length > 2 * POINTS) this.points = thin(this.points, POINTS);
      }
    }
    set(points) { this.points = []; this.add(points); }
    get length() { return this.points.length; }
    xy() { const shown = thin(this.points, POINTS); return [shown.map((point) => point[0]), shown.map((point) => point[1])]; }
  }

  function colours(element) {
    const style = getComputedStyle(element), of = (name, other) => (style.getPropertyValue(name) || '').trim() || other;
    return { text: style.color, train: of('--lu-train', '#d9822b'), held: of('--lu-eval', '#2b7fd9'), grid: of('--lu-grid', 'rgba(128,128,128,.22)') };
  }

  // mount(element, {steps, label}) -> {update({curves, train, eval, steps}), destroy()}
  // `curves` ({train, eval}) replaces what is drawn; `train` and `eval` ([[step, loss], …]) are added to it.
  function mount(element, options) {
    const train = new Curve(), held = new Curve();
    const place = document.createElement('div'), words = document.createElement('p'), scale = document.createElement('button');
    let steps = (options && options.steps) || 0, log = false, gone = false, asked = 0, plotly = null;
    place.className = 'lu-plot';
    place.dataset.testid = 'loss-chart';
    place.setAttribute('role', 'img');
    words.className = 'lu-plot-words';
    words.hidden = true;
    scale.type = 'button';
    scale.className = 'lu-plot-scale';
    scale.textContent = 'log scale';
    scale.setAttribute('aria-pressed', 'false');
    scale.addEventListener('click', () => {
      log = !log;
      scale.setAttribute('aria-pressed', String(log));
      draw();
    });
    element.replaceChildren(scale, place, words);

    function traces(colour) {
      const [x, y] = train.xy(), [hx, hy] = held.xy();
      return [
        { x, y, name: 'training loss', type: 'scatter', mode: x.length < 2 ? 'markers' : 'lines', line: { color: colour.train, width: 2 }, marker: { color: colour.train }, hovertemplate: '%{y:.4g}' },
        { x: hx, y: hy, name: 'held-out loss', type: 'scatter', mode: hx.length > 60 ? 'lines' : 'lines+markers', line: { color: colour.held, width: 2, dash: 'dot' }, marker: { color: colour.held, size: 6 }, hovertemplate: '%{y:.4g}' },
      ];
    }
    function layout(colour) {
      const axis = { color: colour.text, gridcolor: colour.grid, zeroline: false, fixedrange: false, tickfont: { size: 11 } };
      return {
        autosize: true, height: 240, margin: { l: 46, r: 10, t: 8, b: 34 }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
        font: { color: colour.text, family: 'inherit', size: 12 }, hovermode: 'x unified', showlegend: false, uirevision: 'same',
        hoverlabel: { bgcolor: getComputedStyle(document.body).backgroundColor, font: { color: colour.text } },
        xaxis: { ...axis, title: { text: 'step', font: { size: 11 }, standoff: 4 }, ...(steps ? { range: [0, steps] } : { rangemode: 'tozero' }) },
        yaxis: { ...axis, ...(log ? { type: 'log' } : { type: 'linear', rangemode: 'tozero' }) },
      };
    }
    function draw() {
      if (gone || !plotly) return;
      const began = performance.now(), colour = colours(element);
      plotly.react(place, traces(colour), layout(colour), { displayModeBar: false, responsive: true, doubleClick: 'reset' });
      place.dataset.drawMs = (performance.now() - began).toFixed(1);
      place.dataset.points = String(train.length);
      const last = train.length ? train.points[train.length - 1] : null;
      place.setAttribute('aria-label', last ? 'Loss by step; at step ' + last[0] + ' it is ' + last[1].toPrecision(3) : 'Loss by step');
    }
    function soon() {
      if (asked || gone) return;
      asked = requestAnimationFrame(() => { asked = 0; draw(); });
    }
    load().then((found) => { plotly = found; words.hidden = true; draw(); }).catch(() => {
      words.textContent = 'The chart cannot be drawn: its program did not load from this server. Reload the page; the numbers go on without it.';
      words.hidden = false;
    });
    const theme = new MutationObserver(soon);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['class', 'data-theme', 'style'] });
    return {
      update(news) {
        if (news.steps) steps = news.steps;
        if (news.curves) { train.set(news.curves.train); held.set(news.curves.eval); }
        train.add(news.train);
        held.add(news.eval);
        soon();
      },
      get points() { return train.length; },
      destroy() {
        gone = true;
        theme.disconnect();
        if (asked) cancelAnimationFrame(asked);
        if (plotly) plotly.purge(place);
        element.replaceChildren();
      },
    };
  }

  window.LuthierRunChart = { load, mount, thin, Curve };
})();
