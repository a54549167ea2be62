// Runs side by side: one table with the best marked, and one chart with all their loss curves.
import { useEffect, useRef, useState } from 'react';

const COLOURS = ['#d9822b', '#2b7fd9', '#2e9d6b', '#b04fc4', '#c43d4b', '#7a8a2a', '#3aa6b9', '#8a6d4b'];

function traces(curves) {
  return curves.flatMap((each, at) => {
    const color = COLOURS[at % COLOURS.length], width = each.best ? 3 : 1.6;
    const line = (points, name, dash, legend) => ({
      x: points.map((p) => p[0]), y: points.map((p) => p[1]), name, type: 'scatter', mode: dash ? 'lines+markers' : 'lines',
      line: { color, width, dash: dash ? 'dot' : 'solid' }, marker: { size: 5, color }, legendgroup: each.run_id, showlegend: legend, hovertemplate: '%{y:.4g}',
    });
    return [line(each.train, each.label, false, true), line(each.eval, each.label + ', held out', true, false)].filter((one) => one.x.length);
  });
}
function layout(element) {
  const color = getComputedStyle(element).color, gridcolor = 'rgba(128,128,128,.22)', axis = { color, gridcolor, zeroline: false };
  return {
    autosize: true, height: 300, margin: { l: 46, r: 10, t: 8, b: 34 }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { color, size: 12 },
    hovermode: 'x unified', hoverlabel: { bgcolor: getComputedStyle(document.body).backgroundColor, font: { color } }, legend: { orientation: 'h', y: -0.18 },
    xaxis: { ...axis, title: { text: 'step', font: { size: 11 } }, rangemode: 'tozero' }, yaxis: { ...axis, rangemode: 'tozero' },
  };
}

export default function Comparison() {
  const place = useRef(null);
  const [problem, setProblem] = useState('');
  const curves = props.curves.filter((each) => each.train.length || each.eval.length);
  useEffect(() => {
    if (!curves.length) return undefined;
    let plotly = null, gone = false;
    const draw = () => { if (plotly && place.current && !gone) plotly.react(place.current, traces(curves), layout(place.current), { displayModeBar: false, responsive: true }); };
    const failed = () => setProblem('The chart cannot be drawn: its program did not load from this server. Reload the page; the table holds without it.');
    window.luthierChart().then((program) => program.load()).then((found) => { plotly = found; draw(); }).catch(failed);
    const theme = new MutationObserver(draw);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['class', 'data-theme', 'style'] });
    return () => { gone = true; theme.disconnect(); if (plotly && place.current) plotly.purge(place.current); };
  }, []);
  return (
    <section className="lu-card" data-testid="comparison-card" aria-label="Comparison of runs">
      <div className="lu-head"><span className="lu-title">{props.sweep ? 'The runs of the sweep' : 'Runs side by side'}</span></div>
      <div style={{ overflowX: 'auto' }}>
        <table className="lu-table">
          <thead><tr>{props.headings.map((name) => <th key={name} scope="col">{name}</th>)}</tr></thead>
          <tbody>
            {props.rows.map((row) => (
              <tr key={row.run_id} className={row.best ? 'lu-best' : ''} data-testid={row.best ? 'best-run' : 'compared-run'}>
                {row.cells.map((cell, at) => (
                  <td key={at}>{at === 0 ? <a href={'/runs/' + row.run_id}>{cell}</a> : cell}{at === 0 && row.best ? ' ★ best' : ''}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className="lu-say">{props.note}</p>
      {curves.length ? <div ref={place} data-testid="comparison-chart" role="img" aria-label={'Loss by step of ' + curves.length + ' runs'} /> : null}
      {problem ? <p className="lu-say">{problem}</p> : null}
    </section>
  );
}
