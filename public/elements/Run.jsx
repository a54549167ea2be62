// A run as it goes: fed by the run's own event stream, so nothing of it is stored with the page.
import { useEffect, useRef, useState } from 'react';
import { Button } from '@/components/ui/button';

const LOG_LINES = 1000;
const WORDS = { queued: 'Waiting to start', running: 'Running', finished: 'Finished', failed: 'Failed', cancelled: 'Stopped', interrupted: 'Interrupted', lost: 'Lost' };
const PHASES = { prepare: 'preparing', baseline: 'measuring the untuned model', train: 'training', score: 'scoring', export: 'making the served file', score_export: 'scoring the served file',
  approved: 'getting ready', uploading: 'uploading', provisioning: 'Azure makes the job', job_ready: 'the job is ready', start_requested: 'starting', start_unknown: 'starting',
  starting: 'waiting for a machine', infra_retry: 'trying once more', finishing: 'saving the result', downloading: 'fetching the results', stopping: 'stopping', over_budget: 'stopping at its cap' };
const ROWS = [['baseline', 'Before, checkpoint'], ['tuned', 'After, checkpoint'], ['base_served', 'Before, served file'], ['exported', 'After, served file']];

const time = (s) => (s == null ? '–' : s < 90 ? Math.max(1, Math.round(s)) + ' s' : s < 5400 ? Math.round(s / 60) + ' min' : (s / 3600).toFixed(1) + ' h');
const span = (low, high) => { if (time(low) === time(high)) return time(low); const [a, unit] = time(low).split(' '); return time(high).endsWith(' ' + unit) ? a + ' – ' + time(high) : time(low) + ' – ' + time(high); };
const gib = (b) => (b == null ? '–' : b >= 1073741824 ? (b / 1073741824).toFixed(2) + ' GiB' : Math.round(b / 1048576) + ' MiB');
const share = (v) => (v == null ? '–' : Math.round(v * 100) + ' %');
const rate = (v) => (v == null ? '–' : v !== 0 && Math.abs(v) < 0.001 ? Number(v).toExponential(1).replace('e-', 'e−') : String(Number(Number(v).toPrecision(3))));
const figure = (v, digits) => (v == null ? '–' : Number(v).toFixed(digits));

function Tile({ label, value, note, testid }) {
  return (
    <div className="lu-tile">
      <span className="lu-soft lu-small">{label}</span>
      <b data-testid={testid}>{value}</b>
      {note ? <span className="lu-soft lu-note">{note}</span> : null}
    </div>
  );
}

// A state that outlives the card's being made anew.
function useKept(kept, name, first) {
  const [value, set] = useState(name in kept ? kept[name] : first);
  useEffect(() => { kept[name] = value; }, [value]);
  return [value, set];
}

function Log({ log, address, kept, empty }) {
  const pane = useRef(null);
  const [open, setOpen] = useKept(kept, 'open', false);
  const [follow, setFollow] = useKept(kept, 'follow', true);
  useEffect(() => { if (open && follow && pane.current) pane.current.scrollTop = pane.current.scrollHeight; }, [log, open, follow]);
  function scrolled() {
    const at = pane.current;
    if (at) setFollow(at.scrollHeight - at.scrollTop - at.clientHeight < 24);
  }
  const shown = log.bar ? log.lines.concat(log.bar) : log.lines;
  return (
    <details className="lu-fold" data-testid="run-log-fold" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Log</summary>
      <pre className="lu-log" ref={pane} onScroll={scrolled} data-testid="run-log" tabIndex={0}>{shown.length ? shown.join('\n') : empty}</pre>
      <p className="lu-small lu-soft lu-log-foot">
        {log.skipped ? <span>{gib(log.skipped)} were passed over. </span> : null}
        {!follow ? <button type="button" className="lu-link" data-testid="run-log-follow" onClick={() => setFollow(true)}>Follow again</button> : null}
        <a className="lu-link" href={address} target="_blank" rel="noreferrer" data-testid="run-log-link">whole log</a>
      </p>
    </details>
  );
}

export default function Run() {
  const kept = window.luthierKept(props.id);
  const [view, setView] = useKept(kept, 'view', props.view || {});
  const [drawn, setDrawn] = useKept(kept, 'drawn', false);
  const [log, setLog] = useKept(kept, 'log', { lines: [], bar: '', skipped: 0 });
  const [words, setWords] = useKept(kept, 'words', '');
  const [busy, setBusy] = useState(false);
  const [again, setAgain] = useState(0);
  const card = useRef(null);
  const plot = useRef(null);
  const chart = useRef(null);
  useEffect(() => {
    const begun = props.view && (props.view.state === 'queued' || props.view.state === 'running');
    if (begun && !kept.shown && card.current) card.current.scrollIntoView({ block: 'nearest' });
    kept.shown = true;
  }, []);

  useEffect(() => {
    const source = new EventSource(props.events);
    let begun = false; // each connection tells the log's end anew
    source.addEventListener('open', () => { begun = false; });
    source.addEventListener('news', (event) => {
      const news = JSON.parse(event.data);
      if (news.view) setView(news.view);
      if (news.curves || (news.train && news.train.length) || (news.eval && news.eval.length)) {
        if (chart.current) chart.current.update({ ...news, steps: news.view ? news.view.steps : 0 });
        if (news.curves || !kept.points) kept.points = { curves: news.curves || { train: [], eval: [] }, train: [], eval: [], steps: 0 };
        kept.points.train.push(...(news.train || []));
        kept.points.eval.push(...(news.eval || []));
        kept.points.steps = (news.view && news.view.steps) || kept.points.steps;
        const some = (points) => points && points.length > 0;
        if (some(news.train) || some(news.eval) || (news.curves && (some(news.curves.train) || some(news.curves.eval)))) setDrawn(true);
      }
      if (!news.log) return;
      const anew = news.log.again || !begun;
      begun = true;
      setLog((before) => ({
        lines: (anew ? [] : before.lines).concat(news.log.lines).slice(-LOG_LINES),
        bar: news.log.bar,
        skipped: (anew ? 0 : before.skipped) + news.log.skipped_bytes,
      }));
    });
    source.addEventListener('end', () => source.close());
    return () => source.close();
  }, [props.events, again]);
  useEffect(() => {
    if (!drawn || !plot.current) return undefined;
    let gone = false;
    window.luthierChart().then((program) => {
      if (gone || !plot.current) return;
      chart.current = program.mount(plot.current, { steps: view.steps });
      if (kept.points) chart.current.update(kept.points);
    }).catch(() => setWords('The chart cannot be drawn: its program did not load from this server. Reload the page.'));
    return () => { gone = true; if (chart.current) { chart.current.destroy(); chart.current = null; } };
  }, [drawn]);
  // a resumed run goes on after its stream had ended
  useEffect(() => { if (props.view && props.view.attempt > (view.attempt || 0)) setAgain((n) => n + 1); }, [props.view && props.view.attempt]);

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
  const paid = /^Azure/.test(view.where || '');
  const cost = !paid && (view.spent === '0.00' || !view.spent) ? 'free' : (view.spent || '0.00') + ' ' + (view.currency || '');
  const cloud = view.cloud || {};
  const ceiling = cloud.ceiling && cloud.ceiling !== '0.00' ? 'at most ' + cloud.ceiling + ' ' + (view.currency || '') : '';
  const device = view.gpu_use != null ? 'GPU ' + share(view.gpu_use) : view.cores_busy != null ? figure(view.cores_busy, 1) + ' cores busy' : '';
  const doing = going && view.phase ? PHASES[view.phase] || view.phase : '';
  return (
    <div className="lu-card" ref={card} data-testid="run-card" data-run={props.id} data-state={state} data-step={view.step || 0} data-loss={view.loss == null ? '' : view.loss}>
      <div className="lu-head">
        <span className="lu-title">{view.name || 'Run'}</span>
        <span className="lu-soft">{[view.model, view.method, view.where].filter(Boolean).join(' · ')}</span>
        <span className={'lu-pill ' + tone} data-testid="run-state">{WORDS[state] || state}{doing ? ': ' + doing : ''}</span>
      </div>
      <div className="lu-bar" aria-hidden="true"><div style={{ width: part + '%' }} /></div>
      <div className="lu-tiles lu-six">
        <Tile label="Step" value={(view.step || 0) + ' / ' + (view.steps || '–')} note={view.epoch == null ? '' : 'epoch ' + Number(view.epoch).toFixed(2)} testid="run-step" />
        <Tile label="Loss" value={figure(view.loss, 3)} note={view.eval_loss == null ? '' : 'held-out ' + figure(view.eval_loss, 3)} testid="run-loss" />
        {paid && !going ? <Tile label="Learning rate" value={rate(view.learning_rate)} testid="run-rate" />
          : <Tile label={going ? 'Time left' : 'Cost'} value={going ? left : cost} note={going && !paid ? 'cost ' + cost : ''} testid="run-eta" />}
        <Tile label="Tokens/s" value={figure(view.tokens_per_s, 0)} note={device} testid="run-speed" />
        <Tile label={view.memory_bytes == null ? 'Memory, peak' : 'Memory now'} value={gib(view.memory_bytes == null ? view.peak_memory_bytes : view.memory_bytes)}
          note={[view.memory_bytes == null || view.peak_memory_bytes == null ? '' : 'peak ' + gib(view.peak_memory_bytes), view.predicted_memory_bytes ? 'predicted ' + gib(view.predicted_memory_bytes) : ''].filter(Boolean).join(', ')} testid="run-memory" />
        {paid ? <Tile label={going ? 'Cost so far' : 'Cost'} value={cost} note={[ceiling, 'by the clock; the bill comes later'].filter(Boolean).join('; ')} testid="run-cost" />
          : <Tile label="Learning rate" value={rate(view.learning_rate)} note={view.grad_norm == null ? '' : 'gradient norm ' + figure(view.grad_norm, 2)} testid="run-rate" />}
      </div>
      {drawn ? (
        <>
          <div className="lu-plot-box" ref={plot} />
          <div className="lu-key"><span><i />training loss</span><span><i className="lu-held" />held-out loss</span></div>
        </>
      ) : null}
      {view.progress && going ? <p className="lu-say lu-soft" data-testid="run-progress">{view.progress}</p> : null}
      {cloud.image ? <p className="lu-small lu-soft" style={{ overflowWrap: 'anywhere' }} data-testid="run-image">{[cloud.region, cloud.profile, cloud.image.replace(/^(.*@sha256:.{12}).*$/, '$1…')].filter(Boolean).join(' · ')}</p> : null}
      {paid ? (view.warnings || []).map((words) => <p key={words} className="lu-say lu-bad" data-testid="run-warning">{words}</p>) : null}
      {view.reason ? <p className={'lu-say' + (tone === 'lu-bad' ? ' lu-bad' : '')} data-testid="run-reason">{view.reason}</p> : null}
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
      {log.lines.length || log.bar || going ? <Log log={log} address={props.log} kept={kept} empty={'Nothing was written yet.' + (paid ? ' Say “show the log” for what Azure has heard of its container.' : '')} /> : null}
      {words ? <p className="lu-say" data-testid="run-words">{words}</p> : null}
      <div className="lu-foot">
        {going ? <Button data-testid="stop-run" variant="outline" size="sm" disabled={busy} onClick={() => press('stop_run')}>Stop</Button> : null}
        {resumable ? <Button data-testid="resume-run" size="sm" disabled={busy} onClick={() => press('resume_run')}>Resume</Button> : null}
        {state === 'finished' ? <Button data-testid="evaluate-run" size="sm" variant="outline" disabled={busy} onClick={() => press('evaluate_run')}>Evaluate</Button> : null}
        {state === 'finished' ? <Button data-testid="ask-both" size="sm" variant="outline" onClick={() => sendUserMessage(/helpdesk/.test(view.dataset || '') ? 'ask both: The printer in Lisbon is broken and nobody can print.' : 'ask both: Hello, what can you do?')}>Ask both models</Button> : null}
        <span className="lu-soft lu-small lu-end">{props.page ? <><a className="lu-link" href={props.page} target="_blank" rel="noreferrer" data-testid="run-page-link">run page</a> · </> : null}{props.id}</span>
      </div>
    </div>
  );
}
