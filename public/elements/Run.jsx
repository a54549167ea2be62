// A run as it goes: fed by the run's own event stream, so nothing of it is stored with the page.
import { useEffect, useRef, useState } from 'react';
import { Button } from '@/components/ui/button';

const W = 640, H = 200, LEFT = 44, RIGHT = 12, TOP = 10, BOTTOM = 24;
const WORDS = { queued: 'Waiting to start', running: 'Running', finished: 'Finished', failed: 'Failed', cancelled: 'Stopped', interrupted: 'Interrupted', lost: 'Lost' };
const PHASES = { prepare: 'preparing', baseline: 'measuring the untuned model', train: 'training', score: 'scoring', export: 'making the served file', score_export: 'scoring the served file' };
const ROWS = [['baseline', 'Before, checkpoint'], ['tuned', 'After, checkpoint'], ['base_served', 'Before, served file'], ['exported', 'After, served file']];

const time = (s) => (s == null ? '–' : s < 90 ? Math.max(1, Math.round(s)) + ' s' : s < 5400 ? Math.round(s / 60) + ' min' : (s / 3600).toFixed(1) + ' h');
const span = (low, high) => { if (time(low) === time(high)) return time(low); const [a, unit] = time(low).split(' '); return time(high).endsWith(' ' + unit) ? a + ' – ' + time(high) : time(low) + ' – ' + time(high); };
const gib = (b) => (b == null ? '–' : b >= 1073741824 ? (b / 1073741824).toFixed(2) + ' GiB' : Math.round(b / 1048576) + ' MiB');
const share = (v) => (v == null ? '–' : Math.round(v * 100) + ' %');
const figure = (v, digits) => (v == null ? '–' : Number(v).toFixed(digits));

function merge(before, more) {
  if (!more || !more.length) return before;
  const byStep = new Map(before.concat(more).map((point) => [point[0], point[1]]));
  return Array.from(byStep.entries()).sort((a, b) => a[0] - b[0]);
}
function round(value) {
  const ten = Math.pow(10, Math.floor(Math.log10(value)));
  return ten * [1, 2, 2.5, 5, 10].find((step) => step * ten >= value * 0.999);
}
function thin(points, most) {
  if (points.length <= most) return points;
  const every = Math.ceil(points.length / most);
  return points.filter((_, at) => at % every === 0 || at === points.length - 1);
}

function Chart({ train, held, steps }) {
  const all = train.concat(held);
  const unit = round(Math.max(0.01, ...all.map((p) => p[1])) / 4);
  const top = unit * 4;
  const x = (step) => LEFT + (step / Math.max(steps || 1, 1)) * (W - LEFT - RIGHT);
  const y = (loss) => TOP + (1 - Math.min(loss, top) / top) * (H - TOP - BOTTOM);
  const path = (points) => thin(points, 400).map((p, at) => (at ? 'L' : 'M') + x(p[0]).toFixed(1) + ' ' + y(p[1]).toFixed(1)).join('');
  const marks = [0, 0.25, 0.5, 0.75, 1];
  return (
    <svg className="lu-chart" viewBox={'0 0 ' + W + ' ' + H} role="img" aria-label="Loss by step" data-testid="loss-chart" data-points={train.length}>
      {marks.map((m) => (
        <g key={m}>
          <line className="lu-grid" x1={LEFT} x2={W - RIGHT} y1={y(top * m)} y2={y(top * m)} />
          <text x={LEFT - 6} y={y(top * m) + 4} textAnchor="end">{all.length ? (top * m).toFixed(unit < 0.1 ? 2 : unit % 1 ? 1 : 0) : ''}</text>
          <text x={x((steps || 0) * m)} y={H - 6} textAnchor={m === 0 ? 'start' : m === 1 ? 'end' : 'middle'}>{steps ? Math.round(steps * m) : ''}</text>
        </g>
      ))}
      <path className="lu-train" d={path(train)} />
      <path className="lu-eval" d={path(held)} />
      {thin(held, 60).map((p) => <circle className="lu-dot" key={p[0]} cx={x(p[0])} cy={y(p[1])} r="3" />)}
    </svg>
  );
}

export default function Run() {
  const [view, setView] = useState(props.view || {});
  const [train, setTrain] = useState([]);
  const [held, setHeld] = useState([]);
  const [log, setLog] = useState([]);
  const [words, setWords] = useState('');
  const [busy, setBusy] = useState(false);
  const [again, setAgain] = useState(0);
  const card = useRef(null);
  useEffect(() => {
    const begun = props.view && (props.view.state === 'queued' || props.view.state === 'running');
    if (begun && card.current) card.current.scrollIntoView({ block: 'nearest' });
  }, []);

  useEffect(() => {
    const source = new EventSource(props.events);
    source.addEventListener('news', (event) => {
      const news = JSON.parse(event.data);
      if (news.view) setView(news.view);
      if (news.train && news.train.length) setTrain((before) => merge(before, news.train));
      if (news.eval && news.eval.length) setHeld((before) => merge(before, news.eval));
      if (news.log) setLog(news.log);
    });
    source.addEventListener('end', () => source.close());
    return () => source.close();
  }, [props.events, again]);
  // a resumed run goes on after its stream had ended
  useEffect(() => { if (props.view && props.view.attempt !== view.attempt) setAgain((n) => n + 1); }, [props.view && props.view.attempt]);

  async function press(name) {
    setBusy(true);
    setWords('');
    let answer = null;
    try { answer = await callAction({ name, payload: { run_id: props.id } }); } catch (error) { answer = null; }
    const said = answer && answer.response;
    setWords(said ? said.message : 'Nothing was done: the server did not answer. Reload the page and look again.');
    if (said && said.ok) setAgain((n) => n + 1);
    setBusy(false);
  }

  const state = view.state || 'queued';
  const going = state === 'queued' || state === 'running';
  const resumable = ['failed', 'cancelled', 'interrupted', 'lost'].includes(state);
  const tone = state === 'finished' ? 'lu-good' : state === 'running' ? 'lu-wait' : ['failed', 'lost'].includes(state) ? 'lu-bad' : '';
  const part = view.steps ? Math.min(100, (100 * (view.step || 0)) / view.steps) : 0;
  const scores = view.scores || {};
  const rows = ROWS.filter(([which]) => scores[which]);
  const left = view.eta_low_s != null && view.eta_high_s != null && view.eta_high_s - view.eta_low_s >= 5
    ? span(view.eta_low_s, view.eta_high_s) : time(view.eta_s);
  const doing = going && view.phase ? PHASES[view.phase] || view.phase : '';
  return (
    <div className="lu-card" ref={card} data-testid="run-card" data-run={props.id} data-state={state} data-step={view.step || 0} data-loss={view.loss == null ? '' : view.loss}>
      <div className="lu-head">
        <span className="lu-title">{view.name || 'Run'}</span>
        <span className="lu-soft">{[view.model, view.method, view.where].filter(Boolean).join(' · ')}</span>
        <span className={'lu-pill ' + tone} data-testid="run-state">{WORDS[state] || state}{doing ? ': ' + doing : ''}</span>
      </div>
      <div className="lu-bar" aria-hidden="true"><div style={{ width: part + '%' }} /></div>
      <div className="lu-tiles">
        <div className="lu-tile"><span className="lu-soft lu-small">Step</span><b data-testid="run-step">{(view.step || 0) + ' / ' + (view.steps || '–')}</b></div>
        <div className="lu-tile"><span className="lu-soft lu-small">Loss</span><b data-testid="run-loss">{figure(view.loss, 3)}</b></div>
        <div className="lu-tile"><span className="lu-soft lu-small">Tokens/s</span><b>{figure(view.tokens_per_s, 0)}</b></div>
        <div className="lu-tile"><span className="lu-soft lu-small">{going ? 'Time left' : 'Spent'}</span><b data-testid="run-eta">{going ? left : view.spent === '0.00' || !view.spent ? 'free' : view.spent + ' ' + (view.currency || '')}</b></div>
        <div className="lu-tile"><span className="lu-soft lu-small">Memory, peak</span><b>{gib(view.peak_memory_bytes)}</b></div>
      </div>
      {train.length || held.length ? (
        <>
          <Chart train={train} held={held} steps={view.steps} />
          <div className="lu-key"><span><i />training loss</span><span><i className="lu-held" />held-out loss</span><span style={{ marginLeft: 'auto' }}>step →</span></div>
        </>
      ) : null}
      {view.progress && going ? <p className="lu-say lu-soft" data-testid="run-progress">{view.progress}</p> : null}
      {view.reason ? <p className="lu-say">{view.reason}</p> : null}
      {rows.length ? (
        <table className="lu-table" data-testid="run-scores">
          <thead><tr><th>Held-out questions</th><th className="lu-num">answered exactly</th><th className="lu-num">loss</th><th className="lu-num">precision</th></tr></thead>
          <tbody>
            {rows.map(([which, label]) => (
              <tr key={which} className={which === 'tuned' || which === 'exported' ? 'lu-best' : ''} data-testid={'score-' + which}>
                <td>{label}</td><td className="lu-num">{share(scores[which].exact_match)} <span className="lu-soft lu-small">of {scores[which].rows}</span></td>
                <td className="lu-num">{figure(scores[which].loss, 3)}</td><td className="lu-num">{scores[which].precision}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : null}
      {log.length ? (
        <details className="lu-fold"><summary>Last log lines</summary><pre className="lu-log" data-testid="run-log">{log.join('\n')}</pre></details>
      ) : null}
      {words ? <p className="lu-say" data-testid="run-words">{words}</p> : null}
      <div className="lu-foot">
        {going ? <Button data-testid="stop-run" variant="outline" size="sm" disabled={busy} onClick={() => press('stop_run')}>Stop</Button> : null}
        {resumable ? <Button data-testid="resume-run" size="sm" disabled={busy} onClick={() => press('resume_run')}>Resume</Button> : null}
        {state === 'finished' ? <Button data-testid="ask-both" size="sm" variant="outline" onClick={() => sendUserMessage(/helpdesk/.test(view.dataset || '') ? 'ask both: The printer in Lisbon is broken and nobody can print.' : 'ask both: Hello, what can you do?')}>Ask both models</Button> : null}
        <span className="lu-soft lu-small lu-end"><a href={props.log} target="_blank" rel="noreferrer" data-testid="run-log-link">whole log</a> · {props.id}</span>
      </div>
    </div>
  );
}
