// One call that waits for a person; a run's plan has its main figures in front. What it shows was written by the server from
// the book; a click sends an id and a choice, nothing else.
import { useEffect, useRef, useState } from 'react';
import { Button } from '@/components/ui/button';

function Lines({ lines, style }) {
  return (
    <dl className="lu-lines" style={style}>
      {(lines || []).flatMap((line, at) => [<dt key={'l' + at}>{line.label}</dt>, <dd key={'v' + at}>{line.value}</dd>])}
    </dl>
  );
}

function Tile({ tile, paid }) {
  return (
    <div className={'lu-tile' + (tile.label === 'Cost' && paid ? ' lu-money' : '')}>
      <span className="lu-soft lu-small">{tile.label}</span><b>{tile.value}</b>
      {tile.note ? <span className="lu-soft lu-small">{tile.note}</span> : null}
    </div>
  );
}

export default function Approval() {
  const [shown, setShown] = useState(props);
  const [busy, setBusy] = useState('');
  const [words, setWords] = useState('');
  const card = useRef(null);
  // what waits for a person must be seen by that person, once: afterwards the person scrolls
  useEffect(() => {
    const kept = window.luthierKept(props.id);
    if (props.open && !kept.shown && card.current) card.current.scrollIntoView({ block: 'nearest' });
    kept.shown = true;
  }, []);
  useEffect(() => { setShown(props); }, [props.status, props.outcome, props.id]);

  // another person's yes changes the progress and nothing else
  useEffect(() => { setShown(props); }, [props.progress, props.again]);

  async function press(name) {
    setBusy(name);
    setWords('');
    let answer = null;
    try { answer = await callAction({ name, payload: { id: shown.id } }); } catch (error) { answer = null; }
    const said = answer && answer.response;
    if (said && said.props) setShown(said.props);
    // no response means that the server did not decide: it must never look like a yes
    if (!said) setWords('Nothing was decided: the server did not answer. Reload the page and look again.');
    else if (!said.ok || name === 'ask_again') setWords(said.message);
    setBusy('');
  }

  const done = shown.status === 'consumed' || shown.status === 'approved';
  const tone = shown.open ? 'lu-wait' : done ? 'lu-good' : shown.status === 'denied' ? 'lu-bad' : '';
  const by = shown.decided_by && shown.decided_by.length ? ' by ' + shown.decided_by.join(', ') : '';
  const plan = !!(shown.tiles && shown.tiles.length);
  return (
    <div className="lu-card" ref={card} data-testid={plan ? 'plan-card' : 'approval-card'} data-status={shown.status} data-approval={shown.id}>
      <div className="lu-head">
        <span className="lu-title">{plan ? 'Plan' : shown.tool}</span>
        <span className="lu-soft">{plan ? shown.tool + ' · ' + shown.where : shown.target}</span>
        <span className={'lu-pill ' + tone} data-testid="approval-status">{shown.open && shown.progress ? shown.progress : shown.title + by}</span>
      </div>
      {plan ? <div className="lu-tiles">{shown.tiles.map((tile) => <Tile key={tile.label} tile={tile} paid={shown.paid} />)}</div> : null}
      {!plan && shown.paid ? <div className="lu-tiles"><Tile tile={{ label: 'Cost', value: shown.money }} paid /></div> : null}
      {!plan && shown.reason ? <p className="lu-soft">{shown.reason}</p> : null}
      <Lines lines={shown.lines} />
      {shown.stop_rules && shown.stop_rules.length ? (
        <ul className="lu-rules">{shown.stop_rules.map((rule) => <li key={rule}>Standing rule: {rule}</li>)}</ul>
      ) : null}
      {shown.details && shown.details.length ? (
        <details className="lu-fold" data-testid="approval-details">
          <summary>{plan ? 'Every figure and the exact arguments' : 'Exact arguments'}</summary>
          <Lines lines={shown.details} style={{ marginTop: 8 }} />
        </details>
      ) : null}
      {shown.outcome ? <p className="lu-say" data-testid="approval-outcome">{shown.outcome}</p> : null}
      {words ? <p className="lu-say lu-bad" data-testid="approval-words">{words}</p> : null}
      <div className="lu-foot">
        {shown.open ? (
          <>
            <Button data-testid="approve" disabled={!!busy} onClick={() => press('approve')}>
              {busy === 'approve' ? 'Working…' : plan ? 'Approve and start' : 'Approve'}
            </Button>
            <Button data-testid="deny" variant="outline" disabled={!!busy} onClick={() => press('deny')}>Deny</Button>
          </>
        ) : null}
        {shown.again ? (
          <Button data-testid="ask-again" variant="outline" disabled={!!busy} onClick={() => press('ask_again')}>
            {busy === 'ask_again' ? 'Asking…' : 'Ask again'}
          </Button>
        ) : null}
        <span className="lu-soft lu-small lu-end">
          asked by {shown.requester} · {shown.id} · digest {shown.digest}
          {shown.open ? ' · expires ' + new Date(shown.expires_at).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' }) : ''}
        </span>
      </div>
    </div>
  );
}
